import Programs

/// How attention is computed.
package enum AttentionForm: String, Encodable, Sendable {
  /// Of products and a softmax.
  case composed
  /// By `Operation.attention`, whose scores are never in memory, for runners that have a kernel of it.
  case kernel

  /// - Parameters:
  ///   - queries: [tokens, H, d].
  ///   - keys: [tokens, G, d]. `values` likewise.
  ///   - precision: what the products take.
  func of(
    queries: Tensor, keys: Tensor, values: Tensor, in blocks: DocumentBlocks, _ precision: TensorElement
  ) -> any DocumentAttention {
    switch self {
    case .composed: Attention(queries: queries, keys: keys, values: values, in: blocks, precision)
    case .kernel: KernelAttention(queries: queries, keys: keys, values: values, in: blocks, precision)
    }
  }
}

/// What `Attention` computes, as one operation forward and two back: see `AttentionPass`.
package struct KernelAttention: DocumentAttention {
  /// Queries, keys and values, in the type that products take, and documents.
  private let operands: [Tensor]
  private let longest: Int
  /// l, float32, [tokens, H].
  private let logs: Tensor
  package let output: Tensor

  /// - Parameters: as of `Attention`.
  package init(
    queries: Tensor, keys: Tensor, values: Tensor, in blocks: DocumentBlocks, _ precision: TensorElement
  ) {
    let (tokens, heads, size) = (queries.shape[0], queries.shape[1], queries.shape[2])
    operands = [queries, keys, values].map { $0.converted(to: precision) } + [blocks.documents]
    longest = blocks.longest
    let parts = operands[0].attention(.forward, Array(operands[1...]), longest: longest)
      .split(0, [tokens * heads * size, tokens * heads])
    output = parts[0].reshaped([tokens, heads * size])
    logs = parts[1].reshaped([tokens, heads])
  }

  package func backward(_ dOutput: Tensor) -> (dQueries: Tensor, dKeys: Tensor, dValues: Tensor) {
    let queries = operands[0]
    let averages = (dOutput.float32 * output).reshaped(queries.shape).sum(2).reshaped(logs.shape)
    let dO = dOutput.reshaped(queries.shape).converted(to: queries.type.element)
    let all = operands[1...] + [dO, logs, averages]
    let dKeysValues = queries.attention(.keysAndValues, Array(all), longest: longest).split(0, [1, 1])
      .map { $0.reshaped(operands[1].shape) }
    return (
      dQueries: queries.attention(.queries, Array(all), longest: longest),
      dKeys: dKeysValues[0], dValues: dKeysValues[1]
    )
  }
}
