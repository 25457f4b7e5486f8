/// How far the content of a JSON string is read, after its opening quote: one byte a step.
///
/// It accepts UTF-8 without control characters, with the escapes of RFC 8259; `\u` names characters only, so a surrogate
/// must be one of a pair.
struct TextState: Hashable, Sendable {
  enum Place: Hashable, Sendable {
    case plain
    /// Inside a character: this many bytes must follow, the next of them within these bounds.
    case continuation(UInt8, lower: UInt8, upper: UInt8)
    case escape
    /// After `\u` and this many hexadecimal digits.
    case unit(UInt8)
    /// After `\ud`: what follows decides whether it is half of a pair.
    case unitAfterD
    /// In the first half of a pair, after this many digits.
    case highSurrogate(UInt8)
    case pairBackslash
    case pairU
    /// In the second half of a pair, after this many digits.
    case lowSurrogate(UInt8)
  }

  enum Step { case rejected, inside, closed }

  private(set) var place = Place.plain
  /// Characters that must still follow before the string may end.
  private(set) var needed: Int32
  /// Characters that may still follow.
  private(set) var room: Int32
  let allowsEscapes: Bool
  /// What may not follow up to the closing quote: the rests of forbidden strings that begin like this one.
  private(set) var forbidden: [ArraySlice<UInt8>]

  static let unlimited = Int32.max

  init(minimum: Int32 = 0, maximum: Int32 = unlimited, allowsEscapes: Bool = true, forbidden: [[UInt8]] = []) {
    needed = minimum
    room = maximum
    self.allowsEscapes = allowsEscapes
    self.forbidden = forbidden.map { $0[...] }
  }

  /// The state as far as it matters to texts of at most `length` bytes.
  func clamped(to length: Int) -> TextState {
    var result = self
    result.needed = min(needed, Int32(length) + 1)
    result.room = min(room, Int32(length) + 1)
    // A slice remembers where it was cut from; equal rests are to be equal states.
    result.forbidden = forbidden.filter { $0.count <= length }.map { Array($0)[...] }
    return result
  }

  mutating func step(_ byte: UInt8) -> Step {
    switch place {
    case .plain: return plain(byte)
    case .continuation(let count, let lower, let upper):
      guard (lower...upper).contains(byte) else { return .rejected }
      if !forbidden.isEmpty { advanceForbidden(byte) }
      place = count == 1 ? .plain : .continuation(count - 1, lower: 0x80, upper: 0xBF)
    case .escape:
      switch byte {
      case UInt8(ascii: "u"): place = .unit(0)
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
        UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
        place = .plain
      default: return .rejected
      }
      return .inside
    case .pairBackslash:
      guard byte == UInt8(ascii: "\\") else { return .rejected }
      place = .pairU
    case .pairU:
      guard byte == UInt8(ascii: "u") else { return .rejected }
      place = .lowSurrogate(0)
    case .unit, .unitAfterD, .highSurrogate, .lowSurrogate:
      guard let digit = Self.hexadecimalDigit(byte) else { return .rejected }
      return hexadecimal(digit)
    }
    return .inside
  }

  /// The bytes of the shortest way to close the string, the quote included.
  var shortestRest: Int { characterRest + Int(needed) + distinguishingCharacters + 1 }

  /// Whether a shortest way to close the string begins with the byte.
  func isShortened(by byte: UInt8) -> Bool {
    var next = self
    return switch next.step(byte) {
    case .rejected: false
    case .closed: true
    case .inside: next.shortestRest < shortestRest
    }
  }

  /// Bytes of the character that is being read, at least.
  private var characterRest: Int {
    switch place {
    case .plain: 0
    case .continuation(let count, _, _): Int(count)
    case .escape: 1
    case .unit(let read), .lowSurrogate(let read): 4 - Int(read)
    case .unitAfterD: 3
    case .highSurrogate(let read): 4 - Int(read) + 6
    case .pairBackslash: 6
    case .pairU: 5
    }
  }

  /// Characters that are needed to make the string another one than those that are forbidden.
  private var distinguishingCharacters: Int {
    guard place == .plain, forbidden.contains(where: \.isEmpty) else { return 0 }
    // Every ASCII character but control characters, the quote and the backslash: one byte each.
    let characters = 0x80 - 0x20 - 2
    return Set(forbidden.filter { $0.count == 1 }).count < characters ? 1 : 2
  }

  private mutating func plain(_ byte: UInt8) -> Step {
    if byte == UInt8(ascii: "\"") {
      return needed == 0 && !forbidden.contains(where: \.isEmpty) ? .closed : .rejected
    }
    guard byte >= 0x20 && room > 0 else { return .rejected }
    switch byte {
    case UInt8(ascii: "\\"):
      guard allowsEscapes else { return .rejected }
      place = .escape
    case ..<0x80: break
    // The second byte is what excludes overlong forms, surrogates and code points past U+10FFFF.
    case 0xC2...0xDF: place = .continuation(1, lower: 0x80, upper: 0xBF)
    case 0xE0: place = .continuation(2, lower: 0xA0, upper: 0xBF)
    case 0xED: place = .continuation(2, lower: 0x80, upper: 0x9F)
    case 0xE1...0xEF: place = .continuation(2, lower: 0x80, upper: 0xBF)
    case 0xF0: place = .continuation(3, lower: 0x90, upper: 0xBF)
    case 0xF4: place = .continuation(3, lower: 0x80, upper: 0x8F)
    case 0xF1...0xF3: place = .continuation(3, lower: 0x80, upper: 0xBF)
    default: return .rejected
    }
    if needed > 0 { needed -= 1 }
    if room != Self.unlimited { room -= 1 }
    if !forbidden.isEmpty { advanceForbidden(byte) }
    return .inside
  }

  private mutating func advanceForbidden(_ byte: UInt8) {
    forbidden = forbidden.compactMap { $0.first == byte ? $0.dropFirst() : nil }
  }

  private mutating func hexadecimal(_ digit: UInt8) -> Step {
    switch place {
    case .unit(0): place = digit == 0xD ? .unitAfterD : .unit(1)
    case .unit(let read): place = read == 3 ? .plain : .unit(read + 1)
    case .unitAfterD:
      guard digit < 0xC else { return .rejected }
      place = digit < 8 ? .unit(2) : .highSurrogate(2)
    case .highSurrogate(let read): place = read == 3 ? .pairBackslash : .highSurrogate(read + 1)
    case .lowSurrogate(let read):
      guard read != 0 || digit == 0xD, read != 1 || digit >= 0xC else { return .rejected }
      place = read == 3 ? .plain : .lowSurrogate(read + 1)
    default: return .rejected
    }
    return .inside
  }

  private static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
