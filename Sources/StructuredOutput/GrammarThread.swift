/// One way to read the text so far: what is being read, and inside what, of which there may be several.
struct GrammarThread: Hashable, Sendable {
  var top: Frame
  var parent: Link?
  /// Objects and arrays that are open.
  var depth: Int32

  /// How far one part of the text is read.
  enum Frame: Hashable, Sendable {
    /// The text is complete.
    case end
    /// Before the first byte.
    case start
    case sequence(Grammar.NodeID, next: Int32)
    case literal(Grammar.NodeID, read: Int32)
    case text(TextState)
    case number(Grammar.NodeID, NumberState)
    case automaton(Grammar.NodeID, state: Int32)
    case array(Grammar.NodeID, count: Int32, Phase)
    case uniqueArray(UniquePlace, Phase)
    case object(ObjectPlace, Phase)
    /// In the key of a property of the schema, or the colon after it.
    case property(ObjectPlace, index: Int32, read: Int32)
    /// In a key that the schema does not name.
    case freeKey(ObjectPlace, key: [UInt8], TextState)
    /// In such a key, or in an item, by an automaton.
    case distinct(DistinctText)
    /// After such a key, before the colon of this value.
    case colon(ObjectPlace, Grammar.NodeID)
    /// After a colon, before the value.
    case memberValue(ObjectPlace, Grammar.NodeID, allowsSpace: Bool)
  }

  /// How far an array or an object is read, between its parts. One space may follow a comma or a colon, and none
  /// elsewhere: a model cannot fill its answer with spaces.
  enum Phase: Hashable, Sendable { case opened, afterComma, afterSpace, afterPart }

  struct ObjectPlace: Hashable, Sendable {
    let node: Grammar.NodeID
    /// The first property that may come next; the number of properties when only other keys may.
    var next: Int32 = 0
    /// Keys that the schema does not name and that are taken; with quotes, where an automaton reads them.
    var freeKeys: [[UInt8]] = []
    /// How many members there are, where their number matters.
    var count: Int32 = 0
  }

  /// An array whose items differ, and the texts of those that are complete.
  struct UniquePlace: Hashable, Sendable {
    let node: Grammar.NodeID
    var taken: [[UInt8]] = []
  }

  /// A text of an automaton that must be none of some others.
  struct DistinctText: Hashable, Sendable {
    enum Context: Hashable, Sendable {
      case key(ObjectPlace, value: Grammar.NodeID)
      case item(UniquePlace)
    }

    let automaton: Int32
    var state: Int32 = 0
    var text: [UInt8] = []
    /// The rests of the others that begin like this one.
    var others: [ArraySlice<UInt8>]
    let context: Context
  }

  /// The thread before the first byte of a text.
  static let beginning = GrammarThread(top: .start, parent: nil, depth: 0)

  /// How far a string is read, where one is.
  var textState: TextState? {
    switch top {
    case .text(let state), .freeKey(_, _, let state): state
    default: nil
    }
  }

  /// The thread with another top and the same parent.
  func with(_ top: Frame) -> GrammarThread { GrammarThread(top: top, parent: parent, depth: depth) }
}

extension Grammar {
  /// Whether the text may end here.
  func isComplete(_ thread: GrammarThread) -> Bool {
    switch thread.top {
    case .end: true
    case .start: allowsEmpty
    case .automaton(let id, let state):
      automaton(id).accepts(state) && thread.parent?.alternatives.contains { $0.frame == .end } == true
    case .number(let id, let state):
      format(id).map(state.isComplete) == true && thread.parent?.alternatives.contains { $0.frame == .end } == true
    default: false
    }
  }

  /// Adds the ways in which `byte` can go on.
  func step(_ thread: GrammarThread, _ byte: UInt8, into result: inout GrammarStep) {
    switch thread.top {
    case .end: return
    case .start: result.begin(root, inside: .end, nil, depth: 0)
    case .sequence(let id, let next): continueSequence(id, next, byte, thread, into: &result)
    case .literal(let id, let read): readLiteral(id, read, byte, thread, into: &result)
    case .text(var state):
      switch state.step(byte) {
      case .rejected: return
      case .inside: result.add(thread.with(.text(state)))
      case .closed: result.addEnded(thread)
      }
    case .number(let id, var state):
      guard let format = format(id) else { return }
      let before = state
      if state.step(byte, format) {
        result.add(thread.with(.number(id, state)))
      } else if before.isComplete(format) {
        // Only what follows shows that a number is complete.
        for rest in result.ended(thread, readsByte: true) { step(rest, byte, into: &result) }
      }
    case .automaton(let id, let state):
      let automaton = automaton(id)
      if let next = automaton.step(state, byte) {
        if automaton.isFinal(next) {
          result.addEnded(thread)
        } else {
          result.add(thread.with(.automaton(id, state: next)))
        }
      }
      if automaton.accepts(state) {
        for rest in result.ended(thread, readsByte: true) { step(rest, byte, into: &result) }
      }
    case .array(let id, let count, let phase): stepArray(id, count, phase, byte, thread, into: &result)
    case .uniqueArray(let place, let phase): stepUniqueArray(place, phase, byte, thread, into: &result)
    case .distinct(let text): stepDistinct(text, byte, thread, into: &result)
    case .object(let place, let phase): stepObject(place, phase, byte, thread, into: &result)
    case .property, .freeKey, .colon, .memberValue: stepMember(byte, thread, into: &result)
    }
  }

  func automatonIndex(_ id: NodeID) -> Int32 {
    guard case .automaton(let index) = node(id) else { preconditionFailure("a node that is no automaton") }
    return index
  }

  func automaton(_ id: NodeID) -> Automaton { automata[Int(automatonIndex(id))] }

  /// Whether a byte can be on a shortest way out of the string or the text of an automaton that a thread reads; true for
  /// all else.
  func mayShorten(_ thread: GrammarThread, _ byte: UInt8) -> Bool {
    if let state = thread.textState { return state.isShortened(by: byte) }
    guard case .automaton(let id, let state) = thread.top else { return true }
    let automaton = automaton(id)
    if automaton.accepts(state) { return true }
    return automaton.step(state, byte).map { automaton.distances[Int($0)] < automaton.distances[Int(state)] } ?? false
  }

  private func format(_ id: NodeID) -> NumberFormat? {
    if case .number(let format) = node(id) { format } else { nil }
  }

  /// Begins a node with its first byte.
  func start(
    _ id: NodeID, _ byte: UInt8, _ parent: GrammarThread.Link?, depth: Int32, into result: inout GrammarStep
  ) {
    guard fits(id, depth: depth) else { return }
    func thread(_ top: GrammarThread.Frame, opening brackets: Int32 = 0) -> GrammarThread {
      GrammarThread(top: top, parent: parent, depth: depth + brackets)
    }
    switch node(id) {
    case .alternatives(let choices):
      for choice in choices { start(choice, byte, parent, depth: depth, into: &result) }
    case .sequence: continueSequence(id, 0, byte, thread(.sequence(id, next: 0)), into: &result)
    case .literal: readLiteral(id, 0, byte, thread(.literal(id, read: 0)), into: &result)
    case .string(let minimum, let maximum):
      if byte == UInt8(ascii: "\"") {
        result.add(thread(.text(TextState(minimum: minimum, maximum: maximum))))
      }
    case .number(let format):
      var state = NumberState()
      if state.step(byte, format) { result.add(thread(.number(id, state))) }
    case .automaton(let index):
      let automaton = automata[Int(index)]
      guard let state = automaton.step(0, byte) else { return }
      let begun = thread(.automaton(id, state: state))
      if automaton.isFinal(state) { result.addEnded(begun) } else { result.add(begun) }
    case .array(let array):
      guard byte == UInt8(ascii: "[") else { return }
      let top: GrammarThread.Frame =
        array.unique == nil ? .array(id, count: 0, .opened) : .uniqueArray(.init(node: id), .opened)
      result.add(thread(top, opening: 1))
    case .object:
      if byte == UInt8(ascii: "{") {
        result.add(thread(.object(GrammarThread.ObjectPlace(node: id), .opened), opening: 1))
      }
    }
  }

  private func continueSequence(
    _ id: NodeID, _ next: Int32, _ byte: UInt8, _ thread: GrammarThread, into result: inout GrammarStep
  ) {
    guard case .sequence(let parts) = node(id) else { return }
    let isLast = Int(next) + 1 == parts.count
    start(
      parts[Int(next)], byte,
      isLast ? thread.parent : result.link(.sequence(id, next: next + 1), thread.parent), depth: thread.depth,
      into: &result)
  }

  private func readLiteral(
    _ id: NodeID, _ read: Int32, _ byte: UInt8, _ thread: GrammarThread, into result: inout GrammarStep
  ) {
    guard case .literal(let bytes, _) = node(id), bytes[Int(read)] == byte else { return }
    if Int(read) + 1 == bytes.count {
      result.addEnded(thread)
    } else {
      result.add(thread.with(.literal(id, read: read + 1)))
    }
  }

  private func stepArray(
    _ id: NodeID, _ count: Int32, _ phase: GrammarThread.Phase, _ byte: UInt8, _ thread: GrammarThread,
    into result: inout GrammarStep
  ) {
    guard case .array(let array) = node(id) else { return }
    let item = array.item(Int(count))
    let canGoOn = count < array.maximum && fits(item, depth: thread.depth)
    switch (phase, byte) {
    case (.opened, UInt8(ascii: "]")), (.afterPart, UInt8(ascii: "]")):
      if count >= array.minimum { result.addEnded(thread, closing: 1) }
    case (.afterPart, UInt8(ascii: ",")):
      if canGoOn { result.add(thread.with(.array(id, count: count, .afterComma))) }
    case (.afterPart, _): return
    case (.afterComma, UInt8(ascii: " ")): result.add(thread.with(.array(id, count: count, .afterSpace)))
    default:
      guard canGoOn, canBegin(item, byte) else { return }
      // Without an upper limit there is no need to count beyond the lower one and the items that have a node of their own.
      let isCounted = array.maximum < Int32.max || count < max(array.minimum, Int32(array.prefix.count))
      result.begin(
        item, inside: .array(id, count: isCounted ? count + 1 : count, .afterPart), thread.parent, depth: thread.depth)
    }
  }
}
