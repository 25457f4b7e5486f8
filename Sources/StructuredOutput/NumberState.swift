/// Which JSON numbers are wanted.
///
/// So that any reader can hold them, a number has at most 18 digits before the point, 18 behind it and 2 in the
/// exponent. A bounded one has no exponent and at most 12 and 6, which makes its arithmetic exact in whole numbers.
struct NumberFormat: Hashable, Sendable {
  var isInteger: Bool
  /// In units of `unit`; nil for any number.
  var bounds: ClosedRange<Int>?

  /// A bounded number counts millionths, an integer counts itself.
  var unit: Int { isInteger ? 1 : 1_000_000 }
  var integerDigits: UInt8 { isInteger || bounds == nil ? 18 : 12 }
  var fractionDigits: UInt8 { bounds == nil ? 18 : 6 }
  static let exponentDigits: UInt8 = 2
  /// The largest number of 18 digits.
  static let largest = 999_999_999_999_999_999
}

/// How far a JSON number is read.
struct NumberState: Hashable, Sendable {
  enum Phase: UInt8, Sendable {
    case start, minus, zero, integer, point, fraction, exponent, exponentSign, exponentDigits
  }

  private var phase = Phase.start
  /// Digits read of this phase.
  private var digits: UInt8 = 0
  private var isNegative = false
  /// Of a bounded number: all its digits so far, without the point.
  private var value = 0

  init() {}

  /// - Returns: whether the byte goes on in the number, and a number in the bounds can still come of it.
  mutating func step(_ byte: UInt8, _ format: NumberFormat) -> Bool {
    guard advance(byte, format) else { return false }
    guard let bounds = format.bounds else { return true }
    return canReach(bounds, format)
  }

  /// Whether the number may end here.
  func isComplete(_ format: NumberFormat) -> Bool {
    switch phase {
    case .zero, .integer, .fraction, .exponentDigits: break
    default: return false
    }
    guard let bounds = format.bounds else { return true }
    let scaled = phase == .fraction ? value * Self.power(format.fractionDigits - digits) : value * format.unit
    return bounds.contains(isNegative ? -scaled : scaled)
  }

  private mutating func advance(_ byte: UInt8, _ format: NumberFormat) -> Bool {
    let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    switch phase {
    case .start where byte == UInt8(ascii: "-"):
      isNegative = true
      return enter(.minus)
    case .start, .minus:
      return isDigit && read(byte, in: byte == UInt8(ascii: "0") ? .zero : .integer, format, limit: 1)
    case .zero, .integer:
      if isDigit { return phase == .integer && read(byte, in: .integer, format, limit: format.integerDigits) }
      if format.isInteger { return false }
      return byte == UInt8(ascii: ".") ? enter(.point) : enterExponent(byte, format)
    case .point, .fraction:
      if isDigit { return read(byte, in: .fraction, format, limit: format.fractionDigits) }
      return phase == .fraction && enterExponent(byte, format)
    case .exponent where byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-"): return enter(.exponentSign)
    case .exponent, .exponentSign, .exponentDigits:
      return isDigit && read(byte, in: .exponentDigits, format, limit: NumberFormat.exponentDigits)
    }
  }

  private mutating func enter(_ next: Phase) -> Bool {
    phase = next
    digits = 0
    return true
  }

  private mutating func enterExponent(_ byte: UInt8, _ format: NumberFormat) -> Bool {
    format.bounds == nil && (byte | 0x20) == UInt8(ascii: "e") && enter(.exponent)
  }

  private mutating func read(_ digit: UInt8, in next: Phase, _ format: NumberFormat, limit: UInt8) -> Bool {
    if phase != next { digits = 0 }
    phase = next
    digits += 1
    if format.bounds != nil && digits <= limit { value = value * 10 + Int(digit - UInt8(ascii: "0")) }
    return digits <= limit
  }

  /// Whether some way to go on ends in the bounds: digits so far stand for a range, for each number of digits to come.
  private func canReach(_ bounds: ClosedRange<Int>, _ format: NumberFormat) -> Bool {
    func meets(_ range: ClosedRange<Int>) -> Bool {
      bounds.overlaps(isNegative ? -range.upperBound...(-range.lowerBound) : range)
    }
    func meets(unit: Int) -> Bool { meets(value * unit...(value * unit + unit - 1)) }
    switch phase {
    case .minus: return meets(0...NumberFormat.largest)
    case .zero, .point: return meets(unit: format.unit)
    case .integer:
      return (digits...format.integerDigits).contains { meets(unit: Self.power($0 - digits) * format.unit) }
    case .fraction: return meets(unit: Self.power(format.fractionDigits - digits))
    default: return false
    }
  }

  private static func power(_ exponent: UInt8) -> Int { (0..<exponent).reduce(1) { product, _ in product * 10 } }
}
