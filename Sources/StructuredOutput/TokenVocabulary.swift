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
    /// Where in the tree the closing quote comes: the node, and the bytes from the root to it.
    var exits: [(node: Int, bytes: [UInt8])] = []
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

  /// The tokens with which a text of an automaton goes on, and the nodes of the tree at which it may be complete: from
  /// there on, what follows the text decides.
  struct AutomatonTokens: Sendable {
    var inside: TokenSet
    var exits: [(node: Int, isFinal: Bool)] = []
  }

  func tokens(of automaton: Automaton, after state: Int32) -> AutomatonTokens {
    var found = AutomatonTokens(inside: TokenSet(vocabularySize: size))
    let (nodeBytes, ends, offsets) = (nodeBytes, ends, tokenOffsets)
    let end = ends[0]
    // A list in place of calls: the state and the end of each node around the current one.
    var states = [Int32](repeating: state, count: longestToken + 1)
    var outer = [Int32](repeating: end, count: longestToken + 1)
    var depth = 0
    var node: Int32 = 1
    while node < end {
      while node >= outer[depth] { depth -= 1 }
      let next = automaton.target(states[depth], nodeBytes[Int(node)])
      let nodeEnd = ends[Int(node)]
      if next < 0 {
        node = nodeEnd
        continue
      }
      if automaton.accepts(next) {
        let isFinal = automaton.isFinal(next)
        found.exits.append((Int(node), isFinal))
        if isFinal {
          node = nodeEnd
          continue
        }
      }
      for index in offsets[Int(node)]..<offsets[Int(node) + 1] { found.inside.insert(tokens[Int(index)]) }
      node += 1
      if node < nodeEnd {
        depth += 1
        states[depth] = next
        outer[depth] = nodeEnd
      }
    }
    return found
  }

  func textTokens(_ state: TextState) -> TextTokens {
    let state = state.clamped(to: longestToken)
    if let known = textTokens.withLock({ $0[state] }) { return known }
    var found = TextTokens(inside: TokenSet(vocabularySize: size))
    var path: [UInt8] = []
    walkText(0, state, &path, &found)
    textTokens.withLock {
      if $0.count >= Self.rememberedTexts { $0.removeAll(keepingCapacity: true) }
      $0[state] = found
    }
    return found
  }

  private func walkText(_ node: Int, _ state: TextState, _ path: inout [UInt8], _ found: inout TextTokens) {
    var child = node + 1
    while child < Int(ends[node]) {
      var next = state
      let step = next.step(nodeBytes[child])
      if step != .rejected {
        path.append(nodeBytes[child])
        if step == .closed {
          found.exits.append((child, path))
        } else {
          insertTokens(at: child, into: &found.inside)
          walkText(child, next, &path, &found)
        }
        path.removeLast()
      }
      child = Int(ends[child])
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
