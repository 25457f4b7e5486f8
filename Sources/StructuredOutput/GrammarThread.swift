/// One way to read the text so far: what is being read, inside what.
struct GrammarThread: Hashable, Sendable {
  var top: Frame
  var parent: Link?
  /// Objects and arrays that are open.
  var depth: Int32

  /// Where a reading stands in one part of the text.
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
    /// In the key of a property of the schema, or the colon behind it.
    case property(ObjectPlace, index: Int32, read: Int32)
    /// In a key that the schema does not name.
    case freeKey(ObjectPlace, key: [UInt8], TextState)
    /// Behind such a key, before the colon.
    case colon(ObjectPlace)
    /// Behind a colon, before the value.
    case memberValue(ObjectPlace, Grammar.NodeID, allowsSpace: Bool)
  }

  /// Where an array or an object stands between its parts. One space may follow a comma or a colon, and none elsewhere:
  /// a model cannot fill its answer with spaces.
  enum Phase: Hashable, Sendable { case opened, behindComma, behindSpace, behindPart }

  struct ObjectPlace: Hashable, Sendable {
    let node: Grammar.NodeID
    /// The first property that may come next; the number of properties when only other keys may.
    var next: Int32 = 0
    /// Keys that the schema does not name and that are taken.
    var freeKeys: [[UInt8]] = []
  }

  /// What a thread goes back to when the part that it reads is complete.
  final class Link: Hashable, Sendable {
    let frame: Frame
    let parent: Link?
    private let hash: Int

    init(_ frame: Frame, _ parent: Link?) {
      self.frame = frame
      self.parent = parent
      var hasher = Hasher()
      hasher.combine(frame)
      hasher.combine(parent?.hash)
      hash = hasher.finalize()
    }

    static func == (left: Link, right: Link) -> Bool {
      left === right || (left.hash == right.hash && left.frame == right.frame && left.parent == right.parent)
    }

    func hash(into hasher: inout Hasher) { hasher.combine(hash) }
  }

  /// The thread before the first byte of a text.
  static let beginning = GrammarThread(top: .start, parent: nil, depth: 0)

  /// The thread with another top and the same parent.
  func with(_ top: Frame) -> GrammarThread { GrammarThread(top: top, parent: parent, depth: depth) }

  /// The thread behind the part that it reads.
  func popped(closing brackets: Int32 = 0) -> GrammarThread? {
    parent.map { GrammarThread(top: $0.frame, parent: $0.parent, depth: depth - brackets) }
  }
}

extension Grammar {
  /// Whether the text may end here.
  func isComplete(_ thread: GrammarThread) -> Bool {
    switch thread.top {
    case .end: true
    case .number(let id, let state): format(id).map(state.isComplete) == true && thread.parent?.frame == .end
    default: false
    }
  }

  /// Appends the ways in which `byte` can go on.
  func step(_ thread: GrammarThread, _ byte: UInt8, into result: inout [GrammarThread]) {
    switch thread.top {
    case .end: return
    case .start: start(root, byte, GrammarThread.Link(.end, nil), depth: 0, into: &result)
    case .sequence(let id, let next): continueSequence(id, next, byte, thread, into: &result)
    case .literal(let id, let read): readLiteral(id, read, byte, thread, into: &result)
    case .text(var state):
      switch state.step(byte) {
      case .rejected: return
      case .inside: result.append(thread.with(.text(state)))
      case .closed: append(thread.popped(), to: &result)
      }
    case .number(let id, var state):
      guard let format = format(id) else { return }
      let before = state
      if state.step(byte, format) {
        result.append(thread.with(.number(id, state)))
      } else if before.isComplete(format), let rest = thread.popped() {
        // Only what follows shows that a number is complete.
        step(rest, byte, into: &result)
      }
    case .array(let id, let count, let phase): stepArray(id, count, phase, byte, thread, into: &result)
    case .object(let place, let phase): stepObject(place, phase, byte, thread, into: &result)
    case .property, .freeKey, .colon, .memberValue: stepMember(byte, thread, into: &result)
    }
  }

  func append(_ thread: GrammarThread?, to result: inout [GrammarThread]) {
    if let thread { result.append(thread) }
  }

  private func format(_ id: NodeID) -> NumberFormat? {
    if case .number(let format) = node(id) { format } else { nil }
  }

  /// Begins a node with its first byte.
  func start(
    _ id: NodeID, _ byte: UInt8, _ parent: GrammarThread.Link?, depth: Int32, into result: inout [GrammarThread]
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
        result.append(thread(.text(TextState(minimum: minimum, maximum: maximum))))
      }
    case .number(let format):
      var state = NumberState()
      if state.step(byte, format) { result.append(thread(.number(id, state))) }
    case .array:
      if byte == UInt8(ascii: "[") { result.append(thread(.array(id, count: 0, .opened), opening: 1)) }
    case .object:
      if byte == UInt8(ascii: "{") {
        result.append(thread(.object(GrammarThread.ObjectPlace(node: id), .opened), opening: 1))
      }
    }
  }

  private func continueSequence(
    _ id: NodeID, _ next: Int32, _ byte: UInt8, _ thread: GrammarThread, into result: inout [GrammarThread]
  ) {
    guard case .sequence(let parts) = node(id) else { return }
    let isLast = Int(next) + 1 == parts.count
    start(
      parts[Int(next)], byte,
      isLast ? thread.parent : GrammarThread.Link(.sequence(id, next: next + 1), thread.parent), depth: thread.depth,
      into: &result)
  }

  private func readLiteral(
    _ id: NodeID, _ read: Int32, _ byte: UInt8, _ thread: GrammarThread, into result: inout [GrammarThread]
  ) {
    guard case .literal(let bytes, _) = node(id), bytes[Int(read)] == byte else { return }
    append(
      Int(read) + 1 == bytes.count ? thread.popped() : thread.with(.literal(id, read: read + 1)), to: &result)
  }

  private func stepArray(
    _ id: NodeID, _ count: Int32, _ phase: GrammarThread.Phase, _ byte: UInt8, _ thread: GrammarThread,
    into result: inout [GrammarThread]
  ) {
    guard case .array(let items, let minimum, let maximum) = node(id) else { return }
    let canGoOn = count < maximum && fits(items, depth: thread.depth)
    switch (phase, byte) {
    case (.opened, UInt8(ascii: "]")), (.behindPart, UInt8(ascii: "]")):
      if count >= minimum { append(thread.popped(closing: 1), to: &result) }
    case (.behindPart, UInt8(ascii: ",")):
      if canGoOn { result.append(thread.with(.array(id, count: count, .behindComma))) }
    case (.behindPart, _): return
    case (.behindComma, UInt8(ascii: " ")): result.append(thread.with(.array(id, count: count, .behindSpace)))
    default:
      guard canGoOn else { return }
      // Without an upper limit there is no need to count beyond the lower one.
      let counted = maximum == Int32.max && count >= minimum ? count : count + 1
      start(
        items, byte, GrammarThread.Link(.array(id, count: counted, .behindPart), thread.parent), depth: thread.depth,
        into: &result)
    }
  }
}
