import Foundation

/// Numbers out of texts, and rounded, as Python does it.
enum TemplateNumbers {
  /// The filter `int`.
  static func integer(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.use(value)
    let base = try TemplateMethods.integer(given[1], renderer) ?? 10
    let absent = given[0] ?? .integer(0)
    if let whole = value.index { return .integer(whole) }
    if let text = value.text {
      guard base == 10 || [2, 8, 16].contains(base) else {
        throw renderer.unsupported("the filter 'int' with base \(base)")
      }
      if let whole = try parsed(text, base: base, renderer) { return .integer(whole) }
    }
    guard let number = try float(value, renderer) else { return absent }
    if !number.isFinite {
      if case .float = value, number.isInfinite { throw renderer.failure("infinity is no whole number") }
      return absent
    }
    guard let whole = Int(exactly: number.rounded(.towardZero)) else {
      throw renderer.failure("a whole number becomes too large")
    }
    return .integer(whole)
  }

  /// Digits with single underscores between them; nil if the text has other characters.
  private static func plain(_ text: TemplateText) -> String? {
    let scalars = text.stripped().scalars
    guard scalars.count < 1000 else { return nil }
    var result = ""
    for (index, scalar) in scalars.enumerated() {
      if scalar == "_" {
        func isDigit(_ place: Int) -> Bool {
          scalars.indices.contains(place) && Character(scalars[place]).isHexDigit
        }
        guard isDigit(index - 1), isDigit(index + 1) else { return nil }
      } else if !scalar.isASCII {
        guard scalar.isPythonDecimal, let digit = scalar.properties.numericValue else { return nil }
        result += String(Int(digit))
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  private static func parsed(_ text: TemplateText, base: Int, _ renderer: TemplateRenderer) throws -> Int? {
    guard var digits = plain(text) else { return nil }
    let isNegative = digits.hasPrefix("-")
    if isNegative || digits.hasPrefix("+") { digits.removeFirst() }
    let prefix = [2: "0b", 8: "0o", 16: "0x"][base]
    if let prefix, digits.lowercased().hasPrefix(prefix) { digits.removeFirst(2) }
    guard !digits.isEmpty,
      digits.utf8.allSatisfy({ byte in
        Character(Unicode.Scalar(byte)).hexDigitValue.map { $0 < base } ?? false
      })
    else { return nil }
    guard let value = Int((isNegative ? "-" : "") + digits, radix: base) else {
      throw renderer.failure("a whole number is too large")
    }
    return value
  }

  /// Python's `float`; nil where it fails.
  static func float(_ value: TemplateValue, _ renderer: TemplateRenderer) throws -> Double? {
    try renderer.use(value)
    if let number = value.number { return number }
    guard let text = value.text, let digits = plain(text)?.lowercased() else { return nil }
    let unsigned = digits.hasPrefix("-") || digits.hasPrefix("+") ? String(digits.dropFirst()) : digits
    if ["inf", "infinity", "nan"].contains(unsigned) {
      return (digits.hasPrefix("-") ? -1 : 1) * (unsigned == "nan" ? Double.nan : Double.infinity)
    }
    guard let first = unsigned.utf8.first, first == UInt8(ascii: ".") || (48...57).contains(first),
      unsigned.utf8.allSatisfy({ (48...57).contains($0) || ".e+-".utf8.contains($0) }),
      unsigned.utf8.contains(where: { (48...57).contains($0) })
    else { return nil }
    // Swift wants a digit on both sides of the point.
    let parts = unsigned.split(separator: "e", maxSplits: 1, omittingEmptySubsequences: false)
    var mantissa = String(parts[0])
    if mantissa == "." { return nil }
    if mantissa.hasPrefix(".") { mantissa = "0" + mantissa }
    if mantissa.hasSuffix(".") { mantissa += "0" }
    let sign = digits.hasPrefix("-") ? "-" : ""
    return Double(sign + mantissa + (parts.count > 1 ? "e" + parts[1] : ""))
  }

  /// The filter `round`.
  static func rounded(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.use(value)
    let precision = try TemplateMethods.integer(given[0], renderer) ?? 0
    let method = given[1]?.text?.string ?? "common"
    guard ["common", "ceil", "floor"].contains(method) else {
      throw renderer.failure("the filter 'round' does not know the method '\(method.prefix(80))'")
    }
    guard let number = value.number else { throw renderer.failure("the filter 'round' takes a number") }
    guard (-300...300).contains(precision) else {
      throw renderer.unsupported("the filter 'round' with such a precision")
    }
    if method == "common" {
      if let whole = value.index {
        if precision >= 0 { return .integer(whole) }
        throw renderer.unsupported("the filter 'round' of a whole number with a negative precision")
      }
      if !number.isFinite { return .float(number) }
      if precision < 0 {
        let unit = pow(10, Double(-precision))
        return .float((number / unit).rounded(.toNearestOrEven) * unit)
      }
      // Decimal digits of the exact value, rounded half to even, as CPython does.
      return .float(Double(String(format: "%.\(precision)f", number)) ?? number)
    }
    let unit = pow(10, Double(precision))
    let scaled = (number * unit).rounded(method == "ceil" ? .up : .down)
    guard scaled.isFinite else { throw renderer.failure("infinity cannot be rounded") }
    return .float(scaled / unit)
  }
}
