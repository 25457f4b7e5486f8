/// Which JSON numbers are wanted.
///
/// So that any reader can represent it, a number has at most 18 digits before the point, 18 after it and 2 in the
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
  /// The digits of a bounded number so far, without the point.
  private var value = 0

  init() {}

  /// - Returns: whether the byte continues the number, and the number can still end within the bounds.
  mutating func step(_ byte: UInt8, _ format: NumberFormat) -> Bool {
    guard advance(byte, format) else { return false }
    return format.bounds == nil || shortestRest(format) != nil
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

  /// The bytes with which the number soonest becomes complete; nil if it cannot.
  func shortestRest(_ format: NumberFormat) -> Int? {
    if isComplete(format) { return 0 }
    // Without bounds a digit completes any number.
    guard let bounds = format.bounds else { return 1 }
    switch phase {
    case .start:
      let positive = Self.shortestDigits(bounds, format)
      let negative = Self.shortestDigits(-bounds.upperBound...(-bounds.lowerBound), format).map { $0 + 1 }
      return [positive, negative].compactMap(\.self).min()
    case .minus: return Self.shortestDigits(magnitudes(bounds), format)
    case .zero: return shortestRest(magnitudes(bounds), format, integerDigits: 0)
    case .integer: return shortestRest(magnitudes(bounds), format, integerDigits: format.integerDigits - digits)
    case .point, .fraction:
      let read = phase == .point ? 0 : digits
      let room = format.fractionDigits - read
      let first = value * Self.power(room)
      let values = first...(first + Self.power(room) - 1)
      return (1...max(1, room)).first { count in
        count <= room && Self.contains(magnitudes(bounds), in: values, everyNth: Self.power(room - count))
      }.map(Int.init)
    case .exponent, .exponentSign, .exponentDigits: return nil
    }
  }

  private func magnitudes(_ bounds: ClosedRange<Int>) -> ClosedRange<Int> {
    isNegative ? -bounds.upperBound...(-bounds.lowerBound) : bounds
  }

  /// The shortest number with a magnitude in `magnitudes`, without a sign.
  private static func shortestDigits(_ magnitudes: ClosedRange<Int>, _ format: NumberFormat) -> Int? {
    (1...format.integerDigits).compactMap { count in
      let least = count == 1 ? 0 : power(count - 1)
      return shortestFraction(magnitudes, format, integers: least...(power(count) - 1)).map { Int(count) + $0 }
    }.min()
  }

  /// The shortest completion of the integer part, when at most this number of digits may follow.
  private func shortestRest(
    _ magnitudes: ClosedRange<Int>, _ format: NumberFormat, integerDigits: UInt8
  ) -> Int? {
    (0...integerDigits).compactMap { count in
      let first = value * Self.power(count)
      let integers = first...(first + Self.power(count) - 1)
      return Self.shortestFraction(magnitudes, format, integers: integers).map { Int(count) + $0 }
    }.min()
  }

  /// The bytes of the shortest fraction, its point included, with which one of `integers` comes to lie in `magnitudes`.
  private static func shortestFraction(
    _ magnitudes: ClosedRange<Int>, _ format: NumberFormat, integers: ClosedRange<Int>
  ) -> Int? {
    let values = integers.lowerBound * format.unit...(integers.upperBound * format.unit + format.unit - 1)
    let digits = 0...(format.isInteger ? 0 : format.fractionDigits)
    return digits.first { contains(magnitudes, in: values, everyNth: format.unit / power($0)) }
      .map { $0 == 0 ? 0 : Int($0) + 1 }
  }

  /// Whether a multiple of `step` lies in both ranges, of which the second has no negative numbers.
  private static func contains(_ range: ClosedRange<Int>, in values: ClosedRange<Int>, everyNth step: Int) -> Bool {
    let first = max(range.lowerBound, values.lowerBound)
    return (first + step - 1) / step * step <= min(range.upperBound, values.upperBound)
  }

  private static func power(_ exponent: UInt8) -> Int { (0..<exponent).reduce(1) { product, _ in product * 10 } }
}
