import Synchronization

/// Allows the texts of a grammar: JSON, JSON that is valid by a schema, a tool call, or what else a client describes.
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
    /// Of states: as many as fit into some megabytes.
    private let rememberedChoices: Int
    /// Of links inside each other: more than JSON of the greatest depth has.
    private static let maximumNesting = 400
    private let automatonTokens = Mutex<[AutomatonPlace: TokenVocabulary.AutomatonTokens]>([:])

    init(_ grammar: Grammar, _ vocabulary: TokenVocabulary) {
      self.grammar = grammar
      self.vocabulary = vocabulary
      rememberedChoices = max(64, min(1024, (16 << 20) / max(1, vocabulary.size / 4)))
    }

    func choices(_ threads: [GrammarThread]) -> Choices {
      if let known = choices.withLock({ $0[threads] }) { return known }
      let ending = ending(threads)
      // A grammar can open without end what must be closed again.
      let isTooDeep = threads.contains { $0.parent.map { $0.nesting > Self.maximumNesting } ?? false }
      let allowed = isTooDeep ? ending?.closingTokens : nil
      let choices = Choices(allowed: allowed ?? allowedTokens(threads), ending: ending)
      self.choices.withLock {
        if $0.count >= rememberedChoices { $0.removeAll(keepingCapacity: true) }
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
        } else if case .automaton(let id, let state) = thread.top {
          addTokens(after: thread, grammar.automatonIndex(id), state, to: &mask)
        } else if case .distinct(let text) = thread.top {
          addTokens(after: thread, text, to: &mask)
        } else {
          others.append(thread)
        }
      }
      if !others.isEmpty { walk(0, others, &mask) }
      if threads.contains(where: grammar.isComplete) { mask.formUnion(vocabulary.endTokens) }
      return mask
    }

    private struct AutomatonPlace: Hashable {
      let automaton: Int32
      let state: Int32
    }

    private func tokens(_ automaton: Int32, _ state: Int32) -> TokenVocabulary.AutomatonTokens {
      let place = AutomatonPlace(automaton: automaton, state: state)
      if let known = automatonTokens.withLock({ $0[place] }) { return known }
      let found = vocabulary.tokens(of: grammar.automata[Int(automaton)], after: state)
      automatonTokens.withLock {
        if $0.count >= rememberedChoices { $0.removeAll(keepingCapacity: true) }
        $0[place] = found
      }
      return found
    }

    private func addTokens(
      after thread: GrammarThread, _ automaton: Int32, _ state: Int32, to mask: inout TokenSet
    ) {
      let found = tokens(automaton, state)
      mask.formUnion(found.inside)
      let rests = followers(of: thread)
      let first = firstBytes(rests)
      if grammar.automata[Int(automaton)].accepts(state) { walk(0, rests, first: first, &mask) }
      for exit in found.exits {
        if exit.isFinal && !rests.isEmpty { vocabulary.insertTokens(at: exit.node, into: &mask) }
        walk(exit.node, rests, first: first, &mask)
      }
    }

    /// The threads after the part that a thread reads, which may be complete.
    private func followers(of thread: GrammarThread) -> [GrammarThread] {
      (thread.parent?.alternatives ?? []).map {
        GrammarThread(top: $0.frame, parent: $0.parent, depth: thread.depth)
      }
    }

    private func firstBytes(_ threads: [GrammarThread]) -> [Bool] {
      if threads.allSatisfy({ $0.top == .end }) { return [] }
      return (0...255).map { !step(threads, $0).isEmpty }
    }

    /// - Parameter first: for each byte whether the threads can go on with it; empty where they cannot at all.
    private func walk(_ node: Int, _ threads: [GrammarThread], first: [Bool], _ mask: inout TokenSet) {
      if first.isEmpty { return }
      var child = node + 1
      while child < Int(vocabulary.ends[node]) {
        if first[Int(vocabulary.nodeBytes[child])] {
          vocabulary.insertTokens(at: child, into: &mask)
          walk(child, step(threads, vocabulary.nodeBytes[child]), &mask)
        }
        child = Int(vocabulary.ends[child])
      }
    }

    /// What the automaton allows, except the tokens that can only come to a text that is taken.
    private func addTokens(
      after thread: GrammarThread, _ text: GrammarThread.DistinctText, to mask: inout TokenSet
    ) {
      let automaton = grammar.automata[Int(text.automaton)]
      let found = tokens(text.automaton, text.state)
      var allowed = found.inside
      var removed: [Range<Int>] = []
      if !text.others.isEmpty { remove(0, automaton, text.state, text.others, &allowed, &removed) }
      mask.formUnion(allowed)
      if automaton.accepts(text.state), !text.others.contains(where: \.isEmpty) {
        walk(0, [thread.with(grammar.completed(text))], &mask)
      }
      for exit in found.exits where !removed.contains(where: { $0.contains(exit.node) }) {
        let path = vocabulary.path(to: exit.node)
        var whole = text
        whole.text += path
        whole.others = path.reduce(text.others) { others, byte in
          others.compactMap { $0.first == byte ? $0.dropFirst() : nil }
        }
        if whole.others.contains(where: \.isEmpty) { continue }
        if exit.isFinal { vocabulary.insertTokens(at: exit.node, into: &mask) }
        walk(exit.node, [thread.with(grammar.completed(whole))], &mask)
      }
    }

    private func remove(
      _ node: Int, _ automaton: Automaton, _ state: Int32, _ others: [ArraySlice<UInt8>], _ allowed: inout TokenSet,
      _ removed: inout [Range<Int>]
    ) {
      var child = node + 1
      while child < Int(vocabulary.ends[node]) {
        let byte = vocabulary.nodeBytes[child]
        let rests = others.compactMap { $0.first == byte ? $0.dropFirst() : nil }
        if !rests.isEmpty, let next = automaton.step(state, byte) {
          if automaton.distance(next, avoiding: rests) == nil {
            vocabulary.removeTokens(below: child, from: &allowed)
            removed.append(child..<Int(vocabulary.ends[child]))
          } else {
            remove(child, automaton, next, rests, &allowed, &removed)
          }
        }
        child = Int(vocabulary.ends[child])
      }
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
        let shortened = threads.filter { grammar.mayShorten($0, byte) }
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
