/// What may follow a text.
struct TokenChoices: Sendable {
  let allowed: TokenSet
  let ending: TextEnding?
}

/// Finds the tokens that may follow texts of a grammar, and remembers them.
///
/// The vocabulary is a tree of bytes, and one walk over it with the states of the grammar finds all tokens: those that
/// begin alike are read once, and what no state reads is left out with all below it.
struct TokenChooser {
  private let grammar: Grammar
  private let vocabulary: TokenVocabulary
  private(set) var states: GrammarStates
  private var known: [[GrammarThread]: TokenChoices] = [:]
  private var automatonTokens: [AutomatonPlace: TokenVocabulary.AutomatonTokens] = [:]
  /// Of states: as many as fit into some megabytes.
  private let rememberedChoices: Int
  /// Of links inside each other: more than JSON of the greatest depth has.
  private static let maximumNesting = 400

  private struct AutomatonPlace: Hashable {
    let automaton: Int32
    let state: Int32
  }

  init(_ grammar: Grammar, _ vocabulary: TokenVocabulary) {
    self.grammar = grammar
    self.vocabulary = vocabulary
    states = GrammarStates(grammar)
    rememberedChoices = max(64, min(1024, (16 << 20) / max(1, vocabulary.size / 4)))
  }

  mutating func choices(_ threads: [GrammarThread]) -> TokenChoices {
    if let known = known[threads] { return known }
    states.limit()
    let ending = ending(threads)
    // A grammar can open without end what must be closed again.
    let isTooDeep = threads.contains { $0.parent.map { $0.nesting > Self.maximumNesting } ?? false }
    let allowed = isTooDeep ? ending?.closingTokens : nil
    let choices = TokenChoices(allowed: allowed ?? allowedTokens(threads), ending: ending)
    if known.count >= rememberedChoices { known.removeAll(keepingCapacity: true) }
    known[threads] = choices
    return choices
  }

  private mutating func allowedTokens(_ threads: [GrammarThread]) -> TokenSet {
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
    addTokens(below: 0, others, to: &mask)
    if threads.contains(where: grammar.isComplete) { mask.formUnion(vocabulary.endTokens) }
    return mask
  }

  /// Adds the tokens below a node of the vocabulary that can follow `threads`.
  private mutating func addTokens(below node: Int, _ threads: [GrammarThread], to mask: inout TokenSet) {
    if threads.allSatisfy({ $0.top == .end }) { return }
    addTokens(below: node, states.index(of: threads), to: &mask)
  }

  private mutating func addTokens(below node: Int, _ state: Int32, to mask: inout TokenSet) {
    vocabulary.walk(below: node, from: state, step: { states.target($0, $1) }) { node, _ in
      vocabulary.insertTokens(at: node, into: &mask)
      return true
    }
  }

  // MARK: Texts

  /// Inside a string nearly every token can follow, whatever is around the string, so these tokens are found only once.
  private mutating func addTokens(after thread: GrammarThread, _ state: TextState, to mask: inout TokenSet) {
    let found = vocabulary.textTokens(state)
    mask.formUnion(found.inside)
    // What follows a string does not depend on it, but what follows a key does.
    var isKey = false
    if case .freeKey = thread.top { isKey = true }
    var threads: [GrammarThread] = []
    for node in found.exits {
      if isKey || threads.isEmpty { threads = states.advance([thread], vocabulary.path(to: node)) }
      if threads.isEmpty { continue }
      vocabulary.insertTokens(at: node, into: &mask)
      addTokens(below: node, threads, to: &mask)
    }
  }

  // MARK: Automata

  private mutating func tokens(_ automaton: Int32, _ state: Int32) -> TokenVocabulary.AutomatonTokens {
    let place = AutomatonPlace(automaton: automaton, state: state)
    if let known = automatonTokens[place] { return known }
    let found = vocabulary.tokens(of: grammar.automata[Int(automaton)], after: state)
    if automatonTokens.count >= rememberedChoices { automatonTokens.removeAll(keepingCapacity: true) }
    automatonTokens[place] = found
    return found
  }

  private mutating func addTokens(
    after thread: GrammarThread, _ automaton: Int32, _ state: Int32, to mask: inout TokenSet
  ) {
    let found = tokens(automaton, state)
    mask.formUnion(found.inside)
    // What may follow the text when it is complete.
    let rests = (thread.parent?.alternatives ?? []).map {
      GrammarThread(top: $0.frame, parent: $0.parent, depth: thread.depth)
    }
    if rests.isEmpty { return }
    for node in found.finals { vocabulary.insertTokens(at: node, into: &mask) }
    if rests.allSatisfy({ $0.top == .end }) { return }
    let after = states.index(of: rests)
    if grammar.automata[Int(automaton)].accepts(state) { addTokens(below: 0, after, to: &mask) }
    for node in found.exits + found.finals { addTokens(below: node, after, to: &mask) }
  }

  /// What the automaton allows, except the tokens that can only come to a text that is taken.
  private mutating func addTokens(
    after thread: GrammarThread, _ text: GrammarThread.DistinctText, to mask: inout TokenSet
  ) {
    let automaton = grammar.automata[Int(text.automaton)]
    let found = tokens(text.automaton, text.state)
    var allowed = found.inside
    var removed: [Range<Int>] = []
    if !text.others.isEmpty { remove(0, automaton, text.state, text.others, &allowed, &removed) }
    mask.formUnion(allowed)
    if automaton.accepts(text.state), !text.others.contains(where: \.isEmpty) {
      addTokens(below: 0, [thread.with(grammar.completed(text))], to: &mask)
    }
    for (nodes, isFinal) in [(found.exits, false), (found.finals, true)] {
      for node in nodes where !removed.contains(where: { $0.contains(node) }) {
        let path = vocabulary.path(to: node)
        var whole = text
        whole.text += path
        whole.others = path.reduce(text.others) { others, byte in
          others.compactMap { $0.first == byte ? $0.dropFirst() : nil }
        }
        if whole.others.contains(where: \.isEmpty) { continue }
        if isFinal { vocabulary.insertTokens(at: node, into: &mask) }
        addTokens(below: node, [thread.with(grammar.completed(whole))], to: &mask)
      }
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

  // MARK: The end

  /// The tokens of which every byte brings the text one byte nearer to its end.
  private mutating func ending(_ threads: [GrammarThread]) -> TextEnding? {
    let start = states.index(of: threads)
    let length = states.length(start)
    guard length > TextLength(0), length < .maximum else { return nil }
    var closing = TokenSet(vocabularySize: vocabulary.size)
    vocabulary.walk(below: 0, from: start, step: { shortened($0, $1) }) { node, _ in
      vocabulary.insertTokens(at: node, into: &closing)
      return true
    }
    return closing.first == nil ? nil : TextEnding(endTokens: vocabulary.endTokens, closingTokens: closing)
  }

  /// The state after a byte that is on a shortest way to the end; −1 where it is not.
  private mutating func shortened(_ state: Int32, _ byte: UInt8) -> Int32 {
    // In a string nearly every byte can follow, and few are on the way out.
    guard let rest = states.length(state).predecessor,
      states.threads(state).contains(where: { grammar.mayShorten($0, byte) }),
      case let next = states.target(state, byte), next >= 0, states.length(next) == rest
    else { return -1 }
    return next
  }
}
