/// The states of a text by a grammar: the threads that can read it, and how far they are from the end.
struct GrammarStates {
  private let grammar: Grammar
  private let links = GrammarThread.LinkTable()
  private var table = StateTable<[GrammarThread]>()
  private var end: ShortestEnd
  /// For each state the length of the shortest rest, where it is known.
  private var lengths: [TextLength?] = []

  /// More than most grammars have.
  private static let maximumStates = 4096

  init(_ grammar: Grammar) {
    self.grammar = grammar
    end = ShortestEnd(grammar)
  }

  /// Forgets all states where there are many; their numbers are no longer valid then.
  mutating func limit() {
    if max(table.states.count, links.count) > Self.maximumStates { self = GrammarStates(grammar) }
  }

  mutating func index(of threads: [GrammarThread]) -> Int32 { table.index(of: threads) }

  func threads(_ state: Int32) -> [GrammarThread] { table.states[Int(state)] }

  /// The state after a byte; −1 where there is none.
  mutating func target(_ state: Int32, _ byte: UInt8) -> Int32 {
    table.target(state, byte) { [grammar, links] threads, byte in
      let next = Self.step(threads, byte, grammar, links)
      return next.isEmpty ? nil : next
    }
  }

  /// The threads after some bytes, without remembering those between.
  func advance(_ threads: [GrammarThread], _ bytes: [UInt8]) -> [GrammarThread] {
    bytes.reduce(threads) { Self.step($0, $1, grammar, links) }
  }

  private static func step(
    _ threads: [GrammarThread], _ byte: UInt8, _ grammar: Grammar, _ links: GrammarThread.LinkTable
  ) -> [GrammarThread] {
    var next = GrammarStep(links)
    for thread in threads { grammar.step(thread, byte, into: &next) }
    return next.finish(grammar, byte)
  }

  /// The bytes of the shortest way to the end.
  mutating func length(_ state: Int32) -> TextLength {
    while lengths.count < table.states.count { lengths.append(nil) }
    if let known = lengths[Int(state)] { return known }
    var length = TextLength.none
    for thread in threads(state) { length = min(length, end.length(thread)) }
    lengths[Int(state)] = length
    return length
  }
}
