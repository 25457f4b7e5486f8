import Storage

/// Finds calls of tools in an answer that comes in pieces, and passes on texts and calls as they come.
///
/// What could become a `<tool_call>` is held back until it is decided. Texts and arguments are whole characters when the
/// pieces are. What only looks like a call (no JSON, no name, or a name of no tool) is text. Space after calls is left
/// out.
package struct ToolCallParser {
  package enum Event: Sendable, Equatable {
    case text(String)
    /// A call begins: its name, once and whole.
    case call(index: Int, name: String)
    /// More of the arguments' JSON, as the model wrote it.
    case arguments(index: Int, String)
  }

  private let names: Set<String>
  private var place = Place.text
  /// What may yet become a tag, or a call whose name is not known.
  private var held: [UInt8] = []
  private var reader = CallReader()
  /// Only space has come since the last call.
  private var isBehindCall = false
  /// Calls found so far. The finish reason of an answer with one is `tool_calls`.
  package private(set) var callCount = 0
  /// Whether the JSON of a call is complete, and nothing but its end tag and space has come since.
  var isCallComplete: Bool { callCount > 0 && (place == .tail || (isBehindCall && held.isEmpty)) }

  private enum Place {
    case text
    /// In a call that has not been announced.
    case head
    case announced
    /// After a call's JSON, before `</tool_call>`.
    case tail
  }

  private static let opening = Array(ToolText.opening.utf8)
  private static let closing = Array(ToolText.closing.utf8)

  package init(tools: [Tool]) { names = Set(tools.map(\.name)) }

  /// Adds text.
  package mutating func push(_ text: String) -> [Event] { push(text.utf8) }

  /// Adds text, in pieces that need not be whole characters; then the events' texts need not be so either.
  mutating func push(_ bytes: some Sequence<UInt8>) -> [Event] {
    var events = EventList()
    for byte in bytes {
      switch place {
      case .text: readText(byte, &events)
      case .head, .announced: readCall(byte, &events)
      case .tail:
        held.append(byte)
        if held.ends(with: Self.closing) {
          (held, place, isBehindCall) = ([], .text, true)
        } else if held.ends(with: Self.opening) {
          beginCall()
        }
      }
    }
    return events.finish()
  }

  /// What is left at the end: what was held back and is no call.
  package mutating func finish() -> [Event] {
    var events = EventList()
    if place == .text || place == .head { events.add(held, as: .text) }
    (held, place) = ([], .text)
    return events.finish()
  }

  private mutating func beginCall() {
    (held, place, reader) = (Self.opening, .head, CallReader())
  }

  private mutating func readText(_ byte: UInt8, _ events: inout EventList) {
    if isBehindCall && held.isEmpty {
      if CallReader.isSpace(byte) { return }
      isBehindCall = byte == Self.opening[0]
    }
    held.append(byte)
    let isTag = held.endsInBeginning(of: Self.opening)
    if isTag == Self.opening.count {
      beginCall()
    } else if held.count > isTag {
      isBehindCall = false
      events.add(held.dropLast(isTag), as: .text)
      held.removeFirst(held.count - isTag)
    }
  }

  private mutating func readCall(_ byte: UInt8, _ events: inout EventList) {
    reader.read(byte)
    if place == .head {
      held.append(byte)
      if let name = reader.name, names.contains(name) {
        events.call(index: callCount, name: name)
        callCount += 1
        (held, place) = ([], .announced)
      } else if reader.name != nil || reader.isFinished {
        events.add(held, as: .text)
        (held, place) = ([], .text)
        return
      }
    }
    guard place == .announced else { return }
    events.add(reader.takeArguments(), as: .arguments(callCount - 1))
    if reader.isFinished {
      if !reader.hasArguments { events.add(Array("{}".utf8), as: .arguments(callCount - 1)) }
      place = .tail
    }
  }
}

/// Events of one push, neighbours of a kind as one.
private struct EventList {
  enum Kind: Equatable {
    case text
    case arguments(Int)
  }

  private var events: [ToolCallParser.Event] = []
  private var kind = Kind.text
  private var bytes: [UInt8] = []

  mutating func add(_ added: some Collection<UInt8>, as kind: Kind) {
    if added.isEmpty { return }
    if kind != self.kind { settle() }
    self.kind = kind
    bytes += added
  }

  mutating func call(index: Int, name: String) {
    settle()
    events.append(.call(index: index, name: name))
  }

  mutating func finish() -> [ToolCallParser.Event] {
    settle()
    return events
  }

  private mutating func settle() {
    if bytes.isEmpty { return }
    let text = String(decoding: bytes, as: UTF8.self)
    switch kind {
    case .text: events.append(.text(text))
    case .arguments(let index): events.append(.arguments(index: index, text))
    }
    bytes = []
  }
}

/// Reads `{"name": …, "arguments": …}` a byte at a time.
private struct CallReader {
  private enum Place { case start, key, colon, value, inside, behindValue, end }

  private(set) var name: String?
  /// The object is complete, or there is none.
  private(set) var isFinished = false
  private(set) var hasArguments = false

  private var place = Place.start
  private var key: [UInt8] = []
  private var value: [UInt8] = []
  private var arguments: [UInt8] = []
  // How far the value is read: its open brackets, whether in a string, and whether after a backslash in it.
  private var depth = 0
  private var isString = false
  private var isEscaped = false

  static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

  /// What of the arguments was read and not yet taken.
  mutating func takeArguments() -> [UInt8] {
    defer { arguments = [] }
    return arguments
  }

  mutating func read(_ byte: UInt8) {
    switch place {
    case .start: expect("{", byte, then: .key)
    case .key:
      if key.isEmpty {
        expect("\"", byte, then: .key)
        if byte == UInt8(ascii: "\"") { key = [byte] }
      } else {
        key.append(byte)
        if byte == UInt8(ascii: "\"") { place = .colon }
      }
    case .colon: expect(":", byte, then: .value)
    case .value:
      if Self.isSpace(byte) { return }
      (value, depth, isString, isEscaped, place) = ([], 0, false, false, .inside)
      readValue(byte)
    case .inside: readValue(byte)
    case .behindValue:
      if byte == UInt8(ascii: ",") {
        (key, place) = ([], .key)
      } else {
        expect("}", byte, then: .end)
        isFinished = isFinished || place == .end
      }
    case .end: break
    }
  }

  private mutating func expect(_ scalar: Unicode.Scalar, _ byte: UInt8, then next: Place) {
    if Self.isSpace(byte) { return }
    if byte == UInt8(ascii: scalar) { place = next } else { isFinished = true }
  }

  private mutating func readValue(_ byte: UInt8) {
    if isString {
      add(byte)
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isString = false
        if depth == 0 { endValue() }
      }
      return
    }
    switch byte {
    case UInt8(ascii: "\""): isString = true
    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      // A number or a word ends with what follows it.
      if depth == 0 { return endValue(before: byte) }
      depth -= 1
      add(byte)
      if depth == 0 { endValue() }
      return
    case UInt8(ascii: ",") where depth == 0: return endValue(before: byte)
    case _ where Self.isSpace(byte) && depth == 0: return endValue()
    default: break
    }
    add(byte)
  }

  /// Arguments are passed on at once, unless they are a string, which some models write instead of an object.
  private mutating func add(_ byte: UInt8) {
    value.append(byte)
    if key.elementsEqual("\"arguments\"".utf8) && value[0] != UInt8(ascii: "\"") { arguments.append(byte) }
  }

  private mutating func endValue(before byte: UInt8? = nil) {
    place = .behindValue
    let text = String(decoding: value, as: UTF8.self)
    if value.isEmpty { isFinished = true }
    if key.elementsEqual("\"name\"".utf8) {
      name = (try? JSON(parsing: text))?.stringValue
      if name == nil { isFinished = true }
    } else if key.elementsEqual("\"arguments\"".utf8) {
      hasArguments = !value.isEmpty
      if let quoted = (try? JSON(parsing: text))?.stringValue { arguments += quoted.utf8 }
    }
    if let byte, !isFinished { read(byte) }
  }
}

extension [UInt8] {
  fileprivate func ends(with end: [UInt8]) -> Bool { suffix(end.count).elementsEqual(end) }

  /// How many bytes at the end are the beginning of `text`: the longest such.
  fileprivate func endsInBeginning(of text: [UInt8]) -> Int {
    (1...text.count).last { suffix($0).elementsEqual(text.prefix($0)) } ?? 0
  }
}
