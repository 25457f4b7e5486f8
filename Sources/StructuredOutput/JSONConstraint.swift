import Synchronization

/// Lets only such text through as a grammar allows: JSON, JSON of a schema, or a call of a tool.
package struct JSONConstraint: TokenConstraint {
  /// What all copies share.
  private final class Shared: Sendable {
    let grammar: Grammar
    let vocabulary: TokenVocabulary
    private let links = GrammarThread.LinkTable()
    private let masks = Mutex<[[GrammarThread]: TokenSet]>([:])
    private static let rememberedMasks = 1024

    init(_ grammar: Grammar, _ vocabulary: TokenVocabulary) {
      self.grammar = grammar
      self.vocabulary = vocabulary
    }

    func mask(_ threads: [GrammarThread]) -> TokenSet {
      if let known = masks.withLock({ $0[threads] }) { return known }
      var mask = TokenSet(vocabularySize: vocabulary.size)
      var others: [GrammarThread] = []
      for thread in threads {
        if let state = thread.textState {
          addTokens(behind: thread, state, to: &mask)
        } else {
          others.append(thread)
        }
      }
      if !others.isEmpty { walk(0, others, &mask) }
      if threads.contains(where: grammar.isComplete) { mask.formUnion(vocabulary.endTokens) }
      masks.withLock {
        if $0.count >= Self.rememberedMasks { $0.removeAll(keepingCapacity: true) }
        $0[threads] = mask
      }
      return mask
    }

    /// Inside a string nearly every token goes on, whatever is around it, so these tokens are found once and for all.
    private func addTokens(behind thread: GrammarThread, _ state: TextState, to mask: inout TokenSet) {
      let found = vocabulary.textTokens(state)
      mask.formUnion(found.inside)
      for exit in found.exits {
        let threads = advance([thread], exit.bytes)
        if threads.isEmpty { continue }
        vocabulary.insertTokens(at: exit.node, into: &mask)
        walk(exit.node, threads, &mask)
      }
    }

    /// Adds the tokens that lie below a node of the vocabulary and go on behind `threads`.
    private func walk(_ node: Int, _ threads: [GrammarThread], _ mask: inout TokenSet) {
      var child = node + 1
      while child < Int(vocabulary.ends[node]) {
        let next = step(threads, vocabulary.nodeBytes[child])
        if !next.isEmpty {
          vocabulary.insertTokens(at: child, into: &mask)
          walk(child, next, &mask)
        }
        child = Int(vocabulary.ends[child])
      }
    }

    private func step(_ threads: [GrammarThread], _ byte: UInt8) -> [GrammarThread] {
      var next = GrammarStep(links)
      for thread in threads { grammar.step(thread, byte, into: &next) }
      return next.finish(grammar, byte)
    }

    func advance(_ threads: [GrammarThread], _ bytes: some Sequence<UInt8>) -> [GrammarThread] {
      bytes.reduce(threads, step)
    }
  }

  private let shared: Shared
  /// The ways to read the text so far; none when it has ended.
  private var threads = [GrammarThread.beginning]

  /// - Precondition: the grammar is satisfiable.
  init(_ grammar: Grammar, vocabulary: TokenVocabulary) {
    precondition(grammar.isSatisfiable(grammar.root), "a grammar that allows no text")
    shared = Shared(grammar, vocabulary)
  }

  package func allowedTokens() -> TokenSet {
    threads.isEmpty ? shared.vocabulary.endTokens : shared.mask(threads)
  }

  package mutating func accept(_ token: Int32) {
    threads =
      shared.vocabulary.endTokens.contains(token)
      ? [] : shared.advance(threads, shared.vocabulary.bytes(of: token))
  }

  /// Behind bytes that need not be a token; nil when they are not allowed.
  func advanced(by bytes: some Sequence<UInt8>) -> JSONConstraint? {
    var next = self
    next.threads = shared.advance(threads, bytes)
    return next.threads.isEmpty ? nil : next
  }

  /// Whether the text so far is complete, so that it may end.
  package var isComplete: Bool { threads.contains(where: shared.grammar.isComplete) }
}
