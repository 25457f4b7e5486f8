/// What Python knows of a code point. It differs from Unicode's own properties in places.
extension Unicode.Scalar {
  /// `str.isspace`, and `\s` of `re`: White_Space and the four separators of ASCII.
  var isPythonSpace: Bool {
    switch value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// Where `str.splitlines` breaks.
  var isPythonLineBreak: Bool {
    switch value {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }

  /// What `repr` writes as it is.
  var isPythonPrintable: Bool {
    if value < 0x7F { return value >= 0x20 }
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
      return false
    default: return true
    }
  }

  var isPythonLetter: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  var isPythonDecimal: Bool { properties.numericType == .decimal }
  var isPythonDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }
  var isPythonNumeric: Bool { properties.numericType != nil }
  var isPythonAlphanumeric: Bool { isPythonLetter || isPythonNumeric }
  /// `\w` of `re`.
  var isPythonWord: Bool { self == "_" || isPythonAlphanumeric }
  var isPythonTitlecase: Bool { properties.generalCategory == .titlecaseLetter }
  var isPythonUppercase: Bool { properties.isUppercase }
  var isPythonLowercase: Bool { properties.isLowercase }
  var isPythonCased: Bool { isPythonUppercase || isPythonLowercase || isPythonTitlecase }

  var hexadecimal: String { String(value, radix: 16) }
  func escaped(_ letter: String, digits: Int) -> String {
    "\\" + letter + String(repeating: "0", count: max(0, digits - hexadecimal.count)) + hexadecimal
  }
}

/// Python's `repr` and `str` of a float: the shortest digits, an exponent below 1e-4 and from 1e16.
func pythonText(_ number: Double) -> String {
  if number.isNaN { return "nan" }
  if number.isInfinite { return number < 0 ? "-inf" : "inf" }
  let sign = number.sign == .minus ? "-" : ""
  if number == 0 { return sign + "0.0" }
  // Swift finds the same shortest digits and only sets them differently.
  let parts = "\(number.magnitude)".split(separator: "e")
  let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
  var point = mantissa[0].count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
  var digits = Array((mantissa[0] + (mantissa.count > 1 ? mantissa[1] : "")).utf8)
  let leading = digits.prefix { $0 == UInt8(ascii: "0") }.count
  digits.removeFirst(leading)
  point -= leading
  while digits.last == UInt8(ascii: "0") { digits.removeLast() }
  func text(_ part: some Collection<UInt8>) -> String { String(decoding: part, as: UTF8.self) }
  if point > 16 || point < -3 {
    let exponent = abs(point - 1)
    return sign + text(digits.prefix(1)) + (digits.count > 1 ? "." + text(digits.dropFirst()) : "")
      + (point > 0 ? "e+" : "e-") + (exponent < 10 ? "0" : "") + String(exponent)
  }
  if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + text(digits) }
  if point >= digits.count { return sign + text(digits) + String(repeating: "0", count: point - digits.count) + ".0" }
  return sign + text(digits.prefix(point)) + "." + text(digits.dropFirst(point))
}
