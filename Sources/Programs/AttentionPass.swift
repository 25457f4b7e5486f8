/// What `Operation.attention` computes: causal attention within documents, with grouped heads.
///
///     s = q·kᵀ/√d        a = softmax(s) over the tokens that are seen        o = a·v        l = log Σ exp s
///     v̄ = aᵀ·ō           ā = ō·vᵀ           s̄ = a·(ā - Σ a·ā)/√d           q̄ = s̄·k           k̄ = s̄ᵀ·q
///
/// The operands are queries, [tokens, H, d]; keys and values, [tokens, G, d], where G divides H, all of one float type; and
/// documents, int32, [tokens], numbers in order, 0 or more. Tokens of a document of number `tokens` and above are padding: they
/// see nothing, and all that they get is 0. The result is float32. What products take is rounded to the operands' type.
package enum AttentionPass: Hashable, Sendable, CaseIterable {
  /// o, [tokens, H, d], and after it l, [tokens, H], as one list.
  case forward
  /// q̄, [tokens, H, d]. There are three more operands: ō, of the queries' type, and float32, [tokens, H], l and Σ a·ā, which
  /// is ō·o.
  case queries
  /// k̄ and v̄, [2, tokens, G, d], of the same operands.
  case keysAndValues

  var operandCount: Int { self == .forward ? 4 : 7 }

  /// Products of d numbers for each pair of tokens of which one sees the other.
  var products: Int {
    switch self {
    case .forward: 2
    case .queries: 3
    case .keysAndValues: 4
    }
  }
}

/// The sizes of attention.
package struct AttentionShape: Hashable, Sendable {
  package var tokens: Int
  /// H and G.
  package var heads, groups: Int
  /// d
  package var size: Int
  /// Of queries, keys and values.
  package var element: TensorElement

  package init(tokens: Int, heads: Int, groups: Int, size: Int, _ element: TensorElement) {
    (self.tokens, self.heads, self.groups, self.size, self.element) = (tokens, heads, groups, size, element)
  }

  /// - Precondition: the operands of `Operation.attention`.
  init(_ operands: [TensorType]) {
    let (queries, keys) = (operands[0], operands[1])
    self.init(
      tokens: queries.shape[0], heads: queries.shape[1], groups: keys.shape[1], size: queries.shape[2], queries.element)
  }

  var queries: TensorType { TensorType(element, [tokens, heads, size]) }
  var keys: TensorType { TensorType(element, [tokens, groups, size]) }
  var documents: TensorType { TensorType(.int32, [tokens]) }
  var rowNumbers: TensorType { TensorType(.float32, [tokens, heads]) }

  func operands(_ pass: AttentionPass) -> [TensorType] {
    [queries, keys, keys, documents] + (pass == .forward ? [] : [queries, rowNumbers, rowNumbers])
  }

  func result(_ pass: AttentionPass) -> TensorType {
    switch pass {
    case .forward: TensorType(.float32, [queries.count + rowNumbers.count])
    case .queries: TensorType(.float32, queries.shape)
    case .keysAndValues: TensorType(.float32, [2] + keys.shape)
    }
  }
}
