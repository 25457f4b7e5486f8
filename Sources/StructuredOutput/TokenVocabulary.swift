import Synchronization
import Tokenization

/// A vocabulary's texts, laid out so that one walk finds all tokens with which a text may go on.
///
/// Make one for a model and share it: it remembers what it found for the insides of strings.
package final class TokenVocabulary: Sendable {
  /// A tree of the tokens' bytes, in the order of a walk: a node's first child follows it, and `ends` gives the node
  /// after its last descendant. Node 0 is the root, the empty text.
  let nodeBytes: [UInt8]
  let ends: [Int32]
  /// The tokens that end at node n are `tokens[tokenOffsets[n] ..< tokenOffsets[n + 1]]`.
  private let tokens: [Int32]
  private let tokenOffsets: [Int32]
  private let longestToken: Int

  package let size: Int
  /// The tokens that end a text.
  let endTokens: TokenSet
  private let bytesOfToken: [[UInt8]]

  /// The tokens that go on inside a string, and those that go beyond it.
  struct TextTokens: Sendable {
    var inside: TokenSet
    /// The nodes of the tree at which the closing quote comes.
    var exits: [Int] = []
  }

  /// What answers may be, for formats that were asked for: many requests ask for the same.
  private let constraints = Mutex<[String: JSONConstraint]>([:])
  private static let rememberedConstraints = 8

  private let textTokens = Mutex<[TextState: TextTokens]>([:])
  /// A few kilobytes each.
  private static let rememberedTexts = 512

  /// - Parameter endTokens: the model's, or the tokenizer's if there is none; they and special tokens are never text.
  package init(_ tokenizer: Tokenizer, endTokens: some Sequence<Int32>) {
    size = tokenizer.vocabularySize
    var ends = TokenSet(vocabularySize: size)
    for token in endTokens where token >= 0 && token < size { ends.insert(token) }
    if ends.first == nil { ends.insert(tokenizer.endToken) }
    self.endTokens = ends
    let texts = (0..<Int32(size)).map { ends.contains($0) || tokenizer.isSpecial($0) ? [] : tokenizer.bytes(of: $0) }
    bytesOfToken = texts
    longestToken = texts.map(\.count).max() ?? 0
    var tree = TreeBuilder()
    let order = texts.indices.sorted { texts[$0].lexicographicallyPrecedes(texts[$1]) }
    for token in order where !texts[token].isEmpty { tree.add(texts[token], token: Int32(token)) }
    tree.finish()
    (nodeBytes, self.ends, tokens, tokenOffsets) = (tree.bytes, tree.ends, tree.tokens, tree.offsets)
  }

  /// The constraint of this name, which is made if it is not known; those of one name share what they find.
  func constraint(
    named name: String, _ make: () throws(StructuredOutputError) -> JSONConstraint
  ) throws(StructuredOutputError) -> JSONConstraint {
    if let known = constraints.withLock({ $0[name] }) { return known }
    let made = try make()
    constraints.withLock {
      if $0.count >= Self.rememberedConstraints { $0.removeAll() }
      $0[name] = made
    }
    return made
  }

  /// The bytes that a token adds to the text; none for one that is not text.
  func bytes(of token: Int32) -> [UInt8] {
    bytesOfToken.indices.contains(Int(token)) ? bytesOfToken[Int(token)] : []
  }

  func insertTokens(at node: Int, into set: inout TokenSet) {
    for index in tokenOffsets[node]..<tokenOffsets[node + 1] { set.insert(tokens[Int(index)]) }
  }

  /// Leaves out the tokens at a node and below it.
  func removeTokens(below node: Int, from set: inout TokenSet) {
    for index in tokenOffsets[node]..<tokenOffsets[Int(ends[node])] { set.remove(tokens[Int(index)]) }
  }

  /// The bytes from the root to a node.
  func path(to node: Int) -> [UInt8] {
    var path: [UInt8] = []
    var current = 0
    while current != node {
      var child = current + 1
      while Int(ends[child]) <= node { child = Int(ends[child]) }
      path.append(nodeBytes[child])
      current = child
    }
    return path
  }

  /// The tokens with which a text of an automaton goes on.
  struct AutomatonTokens: Sendable {
    var inside: TokenSet
    /// The nodes of the tree at which it may be complete, so that what follows the text decides from there on; and those at
    /// which it must be.
    var exits: [Int] = []
    var finals: [Int] = []
  }

  func tokens(of automaton: Automaton, after state: Int32) -> AutomatonTokens {
    var found = AutomatonTokens(inside: TokenSet(vocabularySize: size))
    walk(from: state, step: { automaton.target($0, $1) }) { node, state in
      if automaton.isFinal(state) {
        found.finals.append(node)
        return false
      }
      if automaton.accepts(state), Int(ends[node]) > node + 1 { found.exits.append(node) }
      insertTokens(at: node, into: &found.inside)
      return true
    }
    return found
  }

  func textTokens(_ state: TextState) -> TextTokens {
    let state = state.clamped(to: longestToken)
    if let known = textTokens.withLock({ $0[state] }) { return known }
    var found = TextTokens(inside: TokenSet(vocabularySize: size))
    // A closed text has no state.
    var table = StateTable<TextState?>()
    let closed = table.index(of: nil)
    walk(
      from: table.index(of: state),
      step: { state, byte in
        table.target(state, byte) { state, byte in
          guard var state, case let step = state.step(byte), step != .rejected else { return nil }
          return .some(step == .closed ? nil : state)
        }
      },
      visit: { node, state in
        if state == closed {
          found.exits.append(node)
          return false
        }
        insertTokens(at: node, into: &found.inside)
        return true
      })
    textTokens.withLock {
      if $0.count >= Self.rememberedTexts { $0.removeAll(keepingCapacity: true) }
      $0[state] = found
    }
    return found
  }

  /// Walks over the texts of the tokens below a node, as far as a machine reads them.
  ///
  /// - Parameters:
  ///   - step: the state after a byte; −1 where there is none.
  ///   - visit: is called for each node that is reached, with its state, and says whether to go on below it.
  @inline(__always)
  func walk(
    below start: Int = 0, from state: Int32, step: (Int32, UInt8) -> Int32, visit: (Int, Int32) -> Bool
  ) {
    let end = Int(ends[start])
    var node = start + 1
    if node == end { return }
    // A list in place of calls: the state and the end of each node around the current one.
    var states = [Int32](repeating: state, count: longestToken + 1)
    var outer = [Int](repeating: end, count: longestToken + 1)
    var depth = 0
    while node < end {
      while node >= outer[depth] { depth -= 1 }
      let next = step(states[depth], nodeBytes[node])
      let nodeEnd = Int(ends[node])
      guard next >= 0, visit(node, next), node + 1 < nodeEnd else {
        node = nodeEnd
        continue
      }
      node += 1
      depth += 1
      states[depth] = next
      outer[depth] = nodeEnd
    }
  }
}

/// Builds the tree from tokens in the order of their bytes.
private struct TreeBuilder {
  var bytes: [UInt8] = [0]
  var ends: [Int32] = [0]
  var tokens: [Int32] = []
  var offsets: [Int32] = [0]
  /// The nodes from the root to the last one added.
  private var path: [Int] = [0]

  mutating func add(_ text: [UInt8], token: Int32) {
    var common = 0
    while common < text.count && common + 1 < path.count && bytes[path[common + 1]] == text[common] { common += 1 }
    close(to: common + 1)
    for byte in text[common...] {
      path.append(bytes.count)
      bytes.append(byte)
      ends.append(0)
      offsets.append(Int32(tokens.count))
    }
    tokens.append(token)
  }

  mutating func finish() {
    close(to: 0)
    offsets.append(Int32(tokens.count))
  }

  /// Ends the nodes of the path after the first `count`.
  private mutating func close(to count: Int) {
    while path.count > count { ends[path.removeLast()] = Int32(bytes.count) }
  }
}
