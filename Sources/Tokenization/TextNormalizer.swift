import Storage

/// What changes a text before added tokens with `normalized` are found in it and it is split.
struct TextNormalizer: Sendable {
  enum Step: Sendable, Equatable {
    /// Canonical composition.
    case nfc
    /// Puts a text before one that is not empty.
    case prepend(String)
    case replace(String, with: String)
  }

  var steps: [Step] = []

  /// `text`, well-formed UTF-8, as the steps make it; nil where they change nothing.
  ///
  /// - Parameter isFirst: whether a text begins here; nothing is put before one that goes on.
  func normalized(_ text: UnsafeBufferPointer<UInt8>, isFirst: Bool = true) -> [UInt8]? {
    var result: [UInt8]?
    for step in steps {
      func apply(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        switch step {
        case .nfc: CanonicalComposition.composed(text)
        case .prepend(let start): text.isEmpty || !isFirst ? nil : Array(start.utf8) + text
        case .replace(let part, let other): Self.replacing(Array(part.utf8), with: Array(other.utf8), in: text)
        }
      }
      if let changed = result.map({ $0.withUnsafeBufferPointer(apply) }) ?? apply(text) { result = changed }
    }
    return result
  }

  /// `text[range]` as the steps make it, and where its contents are in that. Each stretch, of contents or not, is changed by
  /// itself, so that what a user typed changes nothing around it.
  ///
  /// - Parameter contents: in order, of `text`.
  func normalized(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, contents: [Range<Int>]
  ) -> (text: [UInt8], contents: [Range<Int>]) {
    var result: [UInt8] = []
    var moved: [Range<Int>] = []
    func append(_ stretch: Range<Int>) {
      guard !stretch.isEmpty else { return }
      let bytes = UnsafeBufferPointer(rebasing: text[stretch])
      result += normalized(bytes, isFirst: stretch.lowerBound == range.lowerBound) ?? Array(bytes)
    }
    var place = range.lowerBound
    for content in contents where content.overlaps(range) {
      let content = content.clamped(to: range)
      append(place..<content.lowerBound)
      let start = result.count
      append(content)
      moved.append(start..<result.count)
      place = content.upperBound
    }
    append(place..<range.upperBound)
    return (result, moved)
  }

  func normalized(_ text: String) -> String {
    var text = text
    return text.withUTF8 { bytes in normalized(bytes).map { String(decoding: $0, as: UTF8.self) } } ?? text
  }

  /// `text` with each `part`, from left to right, replaced; nil where there is none.
  static func replacing(
    _ part: [UInt8], with other: [UInt8], in text: UnsafeBufferPointer<UInt8>
  ) -> [UInt8]? {
    guard let first = part.first else { return nil }
    var result: [UInt8] = []
    var copied = 0
    var position = 0
    while position + part.count <= text.count {
      if text[position] == first, part.count == 1 || text[position..<position + part.count].elementsEqual(part) {
        if copied == 0 { result.reserveCapacity(text.count + text.count / 2) }
        result.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied..<position]))
        result.append(contentsOf: other)
        position += part.count
        copied = position
      } else {
        position += 1
      }
    }
    if copied == 0 { return nil }
    result.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied...]))
    return result
  }

  var json: JSON {
    let parts = steps.map { step -> JSON in
      switch step {
      case .nfc: .object([.init("type", .string("NFC"))])
      case .prepend(let start): .object([.init("type", .string("Prepend")), .init("prepend", .string(start))])
      case .replace(let part, let other):
        .object([
          .init("type", .string("Replace")), .init("pattern", .object([.init("String", .string(part))])),
          .init("content", .string(other)),
        ])
      }
    }
    return switch parts.count {
    case 0: .null
    case 1: parts[0]
    default: .object([.init("type", .string("Sequence")), .init("normalizers", .array(parts))])
    }
  }
}
