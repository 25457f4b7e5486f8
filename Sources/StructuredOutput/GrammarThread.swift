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
    case array(Grammar.NodeID, count: Int32, Phase)
    case object(ObjectPlace, Phase)
    /// In the key of a property of the schema, or the colon after it.
    case property(ObjectPlace, index: Int32, read: Int32)
    /// In a key that the schema does not name.
    case freeKey(ObjectPlace, key: [UInt8], TextState)
    /// After such a key, before the colon.
    case colon(ObjectPlace)
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
    /// Keys that the schema does not name and that are taken.
    var freeKeys: [[UInt8]] = []
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
    case .array(let id, let count, let phase): stepArray(id, count, phase, byte, thread, into: &result)
    case .object(let place, let phase): stepObject(place, phase, byte, thread, into: &result)
    case .property, .freeKey, .colon, .memberValue: stepMember(byte, thread, into: &result)
    }
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
    case .array:
      if byte == UInt8(ascii: "[") { result.add(thread(.array(id, count: 0, .opened), opening: 1)) }
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
    guard case .array(let items, let minimum, let maximum) = node(id) else { return }
    let canGoOn = count < maximum && fits(items, depth: thread.depth)
    switch (phase, byte) {
    case (.opened, UInt8(ascii: "]")), (.afterPart, UInt8(ascii: "]")):
      if count >= minimum { result.addEnded(thread, closing: 1) }
    case (.afterPart, UInt8(ascii: ",")):
      if canGoOn { result.add(thread.with(.array(id, count: count, .afterComma))) }
    case (.afterPart, _): return
    case (.afterComma, UInt8(ascii: " ")): result.add(thread.with(.array(id, count: count, .afterSpace)))
    default:
      guard canGoOn, canBegin(items, byte) else { return }
      // Without an upper limit there is no need to count beyond the lower one.
      let counted = maximum == Int32.max && count >= minimum ? count : count + 1
      result.begin(items, inside: .array(id, count: counted, .afterPart), thread.parent, depth: thread.depth)
    }
  }
}
