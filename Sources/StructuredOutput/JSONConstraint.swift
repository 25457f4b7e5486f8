import Synchronization

/// Allows the texts of a grammar: JSON, JSON that is valid by a schema, or a tool call.
package struct JSONConstraint: TokenConstraint {
  /// What may follow a text.
  struct Choices: Sendable {
    let allowed: TokenSet
    let ending: TextEnding?
  }

  /// What all copies share.
  private final class Shared: Sendable {
    let grammar: Grammar
    let vocabulary: TokenVocabulary
    private let links = GrammarThread.LinkTable()
    private let choices = Mutex<[[GrammarThread]: Choices]>([:])
    private static let rememberedChoices = 1024

    init(_ grammar: Grammar, _ vocabulary: TokenVocabulary) {
      self.grammar = grammar
      self.vocabulary = vocabulary
    }

    func choices(_ threads: [GrammarThread]) -> Choices {
      if let known = choices.withLock({ $0[threads] }) { return known }
      let choices = Choices(allowed: allowedTokens(threads), ending: ending(threads))
      self.choices.withLock {
        if $0.count >= Self.rememberedChoices { $0.removeAll(keepingCapacity: true) }
        $0[threads] = choices
      }
      return choices
    }

    private func allowedTokens(_ threads: [GrammarThread]) -> TokenSet {
      var mask = TokenSet(vocabularySize: vocabulary.size)
      var others: [GrammarThread] = []
      for thread in threads {
        if let state = thread.textState {
          addTokens(after: thread, state, to: &mask)
        } else {
          others.append(thread)
        }
      }
      if !others.isEmpty { walk(0, others, &mask) }
      if threads.contains(where: grammar.isComplete) { mask.formUnion(vocabulary.endTokens) }
      return mask
    }

    private func ending(_ threads: [GrammarThread]) -> TextEnding? {
      var end = ShortestEnd(grammar)
      let lengths = threads.map { end.length($0) }
      guard let shortest = lengths.min(), shortest > TextLength(0), shortest < .maximum else { return nil }
      var closing = TokenSet(vocabularySize: vocabulary.size)
      walk(0, zip(threads, lengths).filter { $1 == shortest }.map(\.0), shortest, &end, &closing)
      return closing.first == nil ? nil : TextEnding(endTokens: vocabulary.endTokens, closingTokens: closing)
    }

    /// Adds the tokens below a node of the vocabulary of which every byte brings `threads` one byte nearer to the end.
    ///
    /// - Parameter length: of each thread, to the end.
    private func walk(
      _ node: Int, _ threads: [GrammarThread], _ length: TextLength, _ end: inout ShortestEnd,
      _ closing: inout TokenSet
    ) {
      guard let rest = length.predecessor else { return }
      var child = node + 1
      while child < Int(vocabulary.ends[node]) {
        let byte = vocabulary.nodeBytes[child]
        // In a string nearly every byte can follow, and few are on the way out.
        let shortened = threads.filter { $0.textState?.isShortened(by: byte) ?? true }
        let next = shortened.isEmpty ? [] : step(shortened, byte).filter { end.length($0) == rest }
        if !next.isEmpty {
          vocabulary.insertTokens(at: child, into: &closing)
          walk(child, next, rest, &end, &closing)
        }
        child = Int(vocabulary.ends[child])
      }
    }

    /// Inside a string nearly every token can follow, whatever is around the string, so these tokens are found only once.
    private func addTokens(after thread: GrammarThread, _ state: TextState, to mask: inout TokenSet) {
      let found = vocabulary.textTokens(state)
      mask.formUnion(found.inside)
      for exit in found.exits {
        let threads = advance([thread], exit.bytes)
        if threads.isEmpty { continue }
        vocabulary.insertTokens(at: exit.node, into: &mask)
        walk(exit.node, threads, &mask)
      }
    }

    /// Adds the tokens below a node of the vocabulary that can follow `threads`.
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
    threads.isEmpty ? shared.vocabulary.endTokens : shared.choices(threads).allowed
  }

  package func ending() -> TextEnding? { threads.isEmpty ? nil : shared.choices(threads).ending }

  package mutating func accept(_ token: Int32) {
    threads =
      shared.vocabulary.endTokens.contains(token)
      ? [] : shared.advance(threads, shared.vocabulary.bytes(of: token))
  }

  /// The constraint after bytes that need not be a token; nil if they are not allowed.
  func advanced(by bytes: some Sequence<UInt8>) -> JSONConstraint? {
    var next = self
    next.threads = shared.advance(threads, bytes)
    return next.threads.isEmpty ? nil : next
  }

  /// Whether the text so far is complete, so that it may end.
  package var isComplete: Bool { threads.contains(where: shared.grammar.isComplete) }
}
