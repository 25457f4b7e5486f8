import Storage

/// A decimal number, exactly.
struct Decimal: Hashable, Sendable {
  var isNegative = false
  /// Before the point, without leading zeros, except where it is 0.
  var integer: [UInt8] = [0]
  /// After the point, without trailing zeros.
  var fraction: [UInt8] = []

  /// - Parameter text: a JSON number.
  init?(_ text: String) {
    var text = text[...]
    if text.first == "-" {
      isNegative = true
      text = text.dropFirst()
    }
    let parts = text.lowercased().split(separator: "e", omittingEmptySubsequences: false)
    let digits = parts.first?.split(separator: ".", omittingEmptySubsequences: false) ?? []
    guard (1...2).contains(parts.count), (1...2).contains(digits.count),
      let exponent = parts.count == 2 ? Int(parts[1]) : 0, abs(exponent) < 1000
    else { return nil }
    integer = digits[0].utf8.map { $0 &- 0x30 }
    fraction = digits.count == 2 ? digits[1].utf8.map { $0 &- 0x30 } : []
    guard !integer.isEmpty, (integer + fraction).allSatisfy({ $0 < 10 }) else { return nil }
    if exponent > 0 {
      fraction += [UInt8](repeating: 0, count: max(0, exponent - fraction.count))
      integer += fraction.prefix(exponent)
      fraction.removeFirst(exponent)
    } else {
      integer = [UInt8](repeating: 0, count: max(0, -exponent - integer.count)) + integer
      fraction = integer.suffix(-exponent) + fraction
      integer.removeLast(-exponent)
    }
    while fraction.last == 0 { fraction.removeLast() }
    integer = Array(integer.drop { $0 == 0 })
    if integer.isEmpty { integer = [0] }
    if isZero { isNegative = false }
  }

  /// The number that a JSON value is; nil where it is none.
  init?(_ value: JSON) {
    switch value {
    case .integer(let number): self.init(String(number))
    case .number(let number): self.init("\(number)")
    default: return nil
    }
  }

  var isZero: Bool { integer == [0] && fraction.isEmpty }
  var negated: Decimal {
    var result = self
    if !isZero { result.isNegative.toggle() }
    return result
  }
}

/// Decimal numbers between limits, or multiples of a number: the machine that reads them digit by digit, without exponent.
struct DecimalRange {
  struct Limit {
    var value: Decimal
    var isIncluded: Bool
  }

  var isInteger: Bool
  var lower: Limit?
  var upper: Limit?
  /// The number times 10 to the power of `decimals` is a multiple of this.
  var divisor = 1
  var decimals = 0
  var integerDigits = 18
  var fractionDigits = 18
  /// Whether each number has one spelling: no zero at the end of a fraction, no −0.
  var isCanonical = false

  private enum Phase: UInt8 { case start, minus, zero, integer, point, fraction }

  private struct State: Hashable {
    var phase = Phase.start
    var isNegative = false
    var digits: UInt8 = 0
    /// How the digits compare with those of the limits of the magnitude: −1 for less.
    var toLower: Int8 = 0
    var toUpper: Int8 = 0
    var remainder: Int32 = 0
    var endsInZero = false
    var isZero = true

    func hash(into hasher: inout Hasher) {
      let signs = (isNegative ? 1 : 0) | (endsInZero ? 2 : 0) | (isZero ? 4 : 0)
      let orders = Int(toLower + 1) | Int(toUpper + 1) << 2
      hasher.combine(Int(remainder) << 32 | Int(digits) << 16 | Int(phase.rawValue) << 8 | orders << 3 | signs)
    }
  }

  func automaton(_ budget: inout CompilationBudget) throws(AutomatonTooLarge) -> Automaton {
    var starts = [Bool](repeating: false, count: 257)
    for byte in [0x2D, 0x2E, 0x2F] + Array(0x30...0x3A) { starts[byte] = true }
    let magnitudes = (positive: magnitudes(isNegative: false), negative: magnitudes(isNegative: true))
    func limits(_ state: State) -> Magnitudes? { state.isNegative ? magnitudes.negative : magnitudes.positive }
    return try Automaton(
      from: State(), alphabet: Automaton.Alphabet(starts: starts), &budget,
      accepts: { accepts($0, limits($0)) },
      step: { state, byte in
        if byte != UInt8(ascii: "-") { return step(state, byte, limits(state)) }
        guard state.phase == .start, magnitudes.negative != nil else { return nil }
        var next = state
        (next.phase, next.isNegative) = (.minus, true)
        return next
      })
  }

  private typealias Magnitudes = (lower: Limit?, upper: Limit?)

  /// The limits of the magnitude of a number with a sign; nil if there is none with it.
  private func magnitudes(isNegative: Bool) -> Magnitudes? {
    func negated(_ limit: Limit?) -> Limit? { limit.map { Limit(value: $0.value.negated, isIncluded: $0.isIncluded) } }
    let (low, high) = isNegative ? (negated(upper), negated(lower)) : (lower, upper)
    if let high, high.value.isNegative || high.value.isZero && !high.isIncluded { return nil }
    guard let low, !low.value.isNegative, !low.value.isZero || !low.isIncluded else { return (nil, high) }
    return (low, high)
  }

  /// - Parameter limits: those of the magnitude, with the sign so far.
  private func step(_ state: State, _ byte: UInt8, _ limits: Magnitudes?) -> State? {
    var next = state
    if byte == UInt8(ascii: ".") {
      guard !isInteger, fractionDigits > 0, state.phase == .zero || state.phase == .integer else { return nil }
      next = closed(state, limits)
      (next.phase, next.digits) = (.point, 0)
      return next
    }
    guard case let digit = byte &- 0x30, digit < 10 else { return nil }
    switch state.phase {
    case .zero: return nil
    case .start, .minus:
      guard limits != nil else { return nil }
      next.phase = digit == 0 ? .zero : .integer
      next.digits = 1
    case .integer:
      guard Int(state.digits) < integerDigits else { return nil }
      next.digits += 1
    case .point, .fraction:
      guard Int(state.digits) < fractionDigits else { return nil }
      next.phase = .fraction
      next.digits += 1
    }
    let isFraction = next.phase == .fraction
    func compare(_ order: Int8, _ limit: Limit?) -> Int8 {
      guard order == 0, let limit else { return order }
      let digits = isFraction ? limit.value.fraction : limit.value.integer
      let index = Int(next.digits) - 1
      // More digits before the point than the limit has are compared at the point.
      guard index < digits.count else { return isFraction && digit > 0 ? 1 : 0 }
      return digit < digits[index] ? -1 : digit > digits[index] ? 1 : 0
    }
    next.toLower = compare(state.toLower, limits?.lower)
    next.toUpper = compare(state.toUpper, limits?.upper)
    if divisor > 1 { next.remainder = Int32((Int(state.remainder) * 10 + Int(digit)) % divisor) }
    next.isZero = isCanonical && state.isZero && digit == 0
    next.endsInZero = isCanonical && isFraction && digit == 0
    return next
  }

  /// The state at the end of the digits before the point.
  private func closed(_ state: State, _ limits: Magnitudes?) -> State {
    guard state.phase == .zero || state.phase == .integer else { return state }
    var result = state
    func compare(_ order: Int8, _ limit: Limit?) -> Int8 {
      guard let limit else { return order }
      let count = limit.value.integer.count
      return Int(state.digits) < count ? -1 : Int(state.digits) > count ? 1 : order
    }
    result.toLower = compare(state.toLower, limits?.lower)
    result.toUpper = compare(state.toUpper, limits?.upper)
    return result
  }

  private func accepts(_ state: State, _ limits: Magnitudes?) -> Bool {
    let read: Int
    switch state.phase {
    case .start, .minus, .point: return false
    case .zero, .integer: read = 0
    case .fraction: read = Int(state.digits)
    }
    let state = closed(state, limits)
    func order(_ order: Int8, _ limit: Limit) -> Int8 {
      order == 0 && limit.value.fraction.count > read ? -1 : order
    }
    if let lower = limits?.lower {
      let order = order(state.toLower, lower)
      if order < 0 || order == 0 && !lower.isIncluded { return false }
    }
    if let upper = limits?.upper {
      let order = order(state.toUpper, upper)
      if order > 0 || order == 0 && !upper.isIncluded { return false }
    }
    if isCanonical && (state.endsInZero || state.isNegative && state.isZero) { return false }
    var remainder = Int(state.remainder)
    for _ in min(read, decimals)..<decimals where divisor > 1 { remainder = remainder * 10 % divisor }
    return remainder == 0
  }
}
