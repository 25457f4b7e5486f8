import Synchronization

/// Allows the texts of a grammar: JSON, JSON that is valid by a schema, a tool call, or what else a client describes.
package struct JSONConstraint: TokenConstraint {
  /// What all copies share.
  private final class Shared: Sendable {
    let grammar: Grammar
    let vocabulary: TokenVocabulary
    /// Requests with the same format wait for each other while one of them finds something new.
    private let chooser: Mutex<TokenChooser>

    init(_ grammar: Grammar, _ vocabulary: TokenVocabulary) {
      self.grammar = grammar
      self.vocabulary = vocabulary
      chooser = Mutex(TokenChooser(grammar, vocabulary))
    }

    func choices(_ threads: [GrammarThread]) -> TokenChoices { chooser.withLock { $0.choices(threads) } }

    func advance(_ threads: [GrammarThread], _ bytes: [UInt8]) -> [GrammarThread] {
      chooser.withLock { $0.states.advance(threads, bytes) }
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
    next.threads = shared.advance(threads, Array(bytes))
    return next.threads.isEmpty ? nil : next
  }

  /// Whether the text so far is complete, so that it may end.
  package var isComplete: Bool { threads.contains(where: shared.grammar.isComplete) }
}
