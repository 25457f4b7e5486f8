import Foundation

/// `text % values`
enum PrintfFormat {
  static func format(_ format: TemplateText, _ values: TemplateValue, _ renderer: TemplateRenderer) throws
    -> TemplateText
  {
    if format.isSafe { throw renderer.unsupported("'%' of a safe text") }
    var waiting: [TemplateValue]
    if case .tuple(let list) = values { waiting = list.values } else { waiting = [values] }
    waiting.reverse()
    var isByName = false
    var result = TemplateText()
    var index = 0
    while index < format.count {
      guard format[index] == "%" else {
        result.append(format, index..<index + 1)
        index += 1
        continue
      }
      index += 1
      if index < format.count, format[index] == "%" {
        result.append("%")
        index += 1
        continue
      }
      var value: TemplateValue?
      if index < format.count, format[index] == "(" {
        guard let end = format.firstIndex(of: ")", in: index..<format.count), case .dictionary(let dictionary) = values,
          let named = dictionary[.string(format[index + 1..<end])]
        else { throw renderer.failure("'%(name)' finds no such value") }
        (value, isByName, index) = (named, true, end + 1)
      }
      var field = NumberField()
      while index < format.count, "-+ 0".unicodeScalars.contains(format[index]) {
        switch format[index] {
        case "-": field.alignment = "<"
        case "+": field.sign = "+"
        case " ": field.sign = field.sign ?? " "
        default: field.isZeroFilled = true
        }
        index += 1
      }
      field.width = try digits(format, &index, renderer) ?? 0
      if index < format.count, format[index] == "." {
        index += 1
        field.precision = try digits(format, &index, renderer) ?? 0
      }
      guard index < format.count else { throw renderer.failure("a format ends inside a '%'") }
      let conversion = format[index]
      index += 1
      if value == nil {
        guard let next = waiting.popLast() else { throw renderer.failure("a format has fewer values than '%'") }
        value = next
      }
      result.append(try text(value!, conversion, field, renderer))
    }
    if !waiting.isEmpty, !isByName {
      if case .dictionary = values { return result }
      throw renderer.failure("a format has more values than '%'")
    }
    return result
  }

  static func digits(_ format: TemplateText, _ index: inout Int, _ renderer: TemplateRenderer) throws -> Int? {
    var value: Int?
    while index < format.count, ("0"..."9").contains(format[index]) {
      value = (value ?? 0) * 10 + Int(format[index].value - 48)
      if value! > 1_000_000 { throw renderer.failure("a format has too large a width") }
      index += 1
    }
    return value
  }

  private static func text(
    _ value: TemplateValue, _ conversion: Unicode.Scalar, _ field: NumberField, _ renderer: TemplateRenderer
  ) throws -> TemplateText {
    var field = field
    switch conversion {
    case "s", "r":
      var text = conversion == "s" ? try renderer.text(value) : try renderer.representation(value)
      if let precision = field.precision { text = text[0..<min(precision, text.count)] }
      try renderer.write(field.width)
      return text.padded(to: field.width, field.alignment == "<" ? .right : .left)
    case "d", "i", "u", "x", "X", "o":
      try renderer.use(value)
      let whole =
        value.index
        ?? (conversion == "x" || conversion == "X" || conversion == "o"
          ? nil : value.number.flatMap { Int(exactly: $0.rounded(.towardZero)) })
      guard let whole else { throw renderer.failure("'%\(conversion)' needs a whole number") }
      if field.precision != nil { throw renderer.unsupported("a precision of whole numbers in a format") }
      field.conversion = conversion == "i" || conversion == "u" ? "d" : conversion
      return try field.text(.integer(whole), renderer)
    case "f", "F", "e", "E", "g", "G":
      try renderer.use(value)
      guard let number = value.number else { throw renderer.failure("'%\(conversion)' needs a number") }
      field.conversion = conversion
      return try field.text(.float(number), renderer)
    default: throw renderer.unsupported("'%\(conversion)' in a format")
    }
  }
}

/// The width, alignment and digits of a number or text in a format.
struct NumberField {
  var fill: TemplateText = " "
  var alignment: Unicode.Scalar?
  var sign: Unicode.Scalar?
  var isZeroFilled = false
  var width = 0
  var hasCommas = false
  var precision: Int?
  var conversion: Unicode.Scalar?

  func text(_ value: TemplateValue, _ renderer: TemplateRenderer) throws -> TemplateText {
    try renderer.write(width + (precision ?? 0))
    var digits: String
    var isNegative = false
    switch (value, conversion) {
    case (.integer(let whole), nil), (.integer(let whole), "d"):
      (digits, isNegative) = (String(whole.magnitude), whole < 0)
    case (.integer(let whole), "x"): (digits, isNegative) = (String(whole.magnitude, radix: 16), whole < 0)
    case (.integer(let whole), "X"): (digits, isNegative) = (String(whole.magnitude, radix: 16).uppercased(), whole < 0)
    case (.integer(let whole), "o"): (digits, isNegative) = (String(whole.magnitude, radix: 8), whole < 0)
    case (.integer(let whole), "b"): (digits, isNegative) = (String(whole.magnitude, radix: 2), whole < 0)
    case (_, "f"), (_, "F"), (_, "e"), (_, "E"), (_, "%"):
      var number = value.number ?? 0
      if conversion == "%" { number *= 100 }
      isNegative = number.sign == .minus && !number.isNaN
      let letter = conversion == "e" || conversion == "E" ? String(conversion!) : "f"
      guard (precision ?? 6) < 1000 else { throw renderer.unsupported("a format with more than 1000 digits") }
      digits =
        number.isFinite
        ? String(format: "%.\(precision ?? 6)\(letter)", number.magnitude) : number.isNaN ? "nan" : "inf"
      if conversion == "%" { digits += "%" }
    case (.float(let number), nil) where precision == nil:
      (digits, isNegative) = (pythonText(number.magnitude), number.sign == .minus && !number.isNaN)
    default: throw renderer.unsupported("such a format of a \(value.typeName)")
    }
    if hasCommas {
      let whole = digits.prefix { $0.isNumber }
      let tail = digits.dropFirst(whole.count)
      var grouped = ""
      for (index, digit) in whole.enumerated() {
        if index > 0, (whole.count - index) % 3 == 0 { grouped += "," }
        grouped.append(digit)
      }
      digits = grouped + tail
    }
    let mark = isNegative ? "-" : sign.map(String.init) ?? ""
    let body = TemplateText(mark + digits)
    switch alignment {
    case "<": return body.padded(to: width, .right, with: fill)
    case "^":
      let missing = max(0, width - body.count)
      return fill.repeated(missing / 2) + body + fill.repeated(missing - missing / 2)
    case ">": return body.padded(to: width, .left, with: fill)
    default:
      if isZeroFilled || alignment == "=" {
        let zeros = alignment == "=" && !isZeroFilled ? fill : "0"
        return TemplateText(mark) + TemplateText(digits).padded(to: width - mark.utf8.count, .left, with: zeros)
      }
      return body.padded(to: width, .left, with: fill)
    }
  }
}

/// `text.format(…)`
enum BraceFormat {
  static func format(
    _ format: TemplateText, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> TemplateText {
    var result = TemplateText()
    var (index, automatic) = (0, 0)
    while index < format.count {
      let scalar = format[index]
      if scalar == "{" || scalar == "}" {
        if index + 1 < format.count, format[index + 1] == scalar {
          result.append(format, index..<index + 1)
          index += 2
          continue
        }
        guard scalar == "{", let end = format.firstIndex(of: "}", in: index..<format.count) else {
          throw renderer.failure("a format has a single brace")
        }
        let field = format[index + 1..<end]
        if field.contains("{") { throw renderer.unsupported("a format within a format") }
        result.append(try renderer.written(try text(field, arguments, &automatic, renderer)))
        index = end + 1
      } else {
        result.append(format, index..<index + 1)
        index += 1
      }
    }
    return result
  }

  private static func text(
    _ field: TemplateText, _ arguments: TemplateCallArguments, _ automatic: inout Int, _ renderer: TemplateRenderer
  ) throws -> TemplateText {
    let colon = field.firstIndex(of: ":", in: 0..<field.count) ?? field.count
    var path = field[0..<colon]
    var conversion: Unicode.Scalar?
    if let mark = path.firstIndex(of: "!", in: 0..<path.count) {
      guard mark + 2 == path.count, ["s", "r"].contains(path[mark + 1]) else {
        throw renderer.failure("a format has an unknown conversion")
      }
      conversion = path[mark + 1]
      path = path[0..<mark]
    }
    var value = try self.value(path, arguments, &automatic, renderer)
    if conversion == "r" { value = .string(try renderer.representation(value)) }
    if conversion == "s" { value = .string(try renderer.text(value)) }
    let specification = field[min(colon + 1, field.count)..<field.count]
    if specification.isEmpty { return try renderer.text(value) }
    switch value {
    case .string, .integer, .float, .bool: break
    default: throw renderer.failure("a format of a \(value.typeName) cannot have a specification")
    }
    return try formatted(value, specification, renderer)
  }

  private static func value(
    _ path: TemplateText, _ arguments: TemplateCallArguments, _ automatic: inout Int, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    var end = 0
    while end < path.count, path[end] != ".", path[end] != "[" { end += 1 }
    let name = path[0..<end].string
    var value: TemplateValue
    if name.isEmpty || name.utf8.allSatisfy({ (48...57).contains($0) }) {
      // Numbers come by themselves or are written: not both.
      guard automatic >= 0 && name.isEmpty || automatic <= 0 && !name.isEmpty else {
        throw renderer.failure("a format numbers some of its fields")
      }
      let place = name.isEmpty ? automatic : Int(name) ?? Int.max
      automatic = name.isEmpty ? automatic + 1 : -1
      guard place < arguments.positional.count else { throw renderer.failure("a format has more fields than values") }
      value = arguments.positional[place]
    } else {
      guard let named = arguments.named.first(where: { $0.name == name }) else {
        throw renderer.failure("a format names '\(name.prefix(80))', which has no value")
      }
      value = named.value
    }
    while end < path.count {
      let isItem = path[end] == "["
      let start = end + 1
      end = start
      while end < path.count, isItem ? path[end] != "]" : path[end] != "." && path[end] != "[" { end += 1 }
      let part = path[start..<end]
      if part.isEmpty || isItem && end == path.count { throw renderer.failure("a format has an unfinished field") }
      if isItem {
        value = try renderer.item(Int(part.string).map(TemplateValue.integer) ?? .string(part), of: value)
        end += 1
      } else {
        value = try renderer.attribute(part.string, of: value)
      }
    }
    return value
  }

  private static func formatted(
    _ value: TemplateValue, _ specification: TemplateText, _ renderer: TemplateRenderer
  ) throws -> TemplateText {
    var field = NumberField()
    var index = 0
    let aligns = Array("<>^=".unicodeScalars)
    if specification.count > 1, aligns.contains(specification[1]) {
      field.fill = specification[0..<1]
      field.alignment = specification[1]
      index = 2
    } else if aligns.contains(specification[0]) {
      field.alignment = specification[0]
      index = 1
    }
    func skip(_ scalar: Unicode.Scalar) -> Bool {
      guard index < specification.count, specification[index] == scalar else { return false }
      index += 1
      return true
    }
    if skip("+") { field.sign = "+" } else if skip(" ") { field.sign = " " } else { _ = skip("-") }
    let hasSign = index > 0 && ["+", " ", "-"].contains(specification[index - 1])
    field.isZeroFilled = skip("0")
    field.width = try PrintfFormat.digits(specification, &index, renderer) ?? 0
    field.hasCommas = skip(",")
    if skip(".") { field.precision = try PrintfFormat.digits(specification, &index, renderer) }
    if index < specification.count {
      field.conversion = specification[index]
      index += 1
    }
    guard index == specification.count else { throw renderer.unsupported("such a specification in a format") }
    try renderer.write(field.width)
    if case .string(let text) = value {
      guard field.conversion == nil || field.conversion == "s", !hasSign, !field.hasCommas, !field.isZeroFilled,
        field.alignment != "="
      else { throw renderer.unsupported("such a format of a text") }
      field.conversion = nil
      let cut = field.precision.map { text[0..<min($0, text.count)] } ?? text
      if field.alignment == "^" {
        let missing = max(0, field.width - cut.count)
        return field.fill.repeated(missing / 2) + cut + field.fill.repeated(missing - missing / 2)
      }
      return cut.padded(to: field.width, field.alignment == ">" ? .left : .right, with: field.fill)
    }
    if case .bool = value { throw renderer.unsupported("such a format of a bool") }
    if field.precision != nil, case .integer = value, field.conversion == nil || field.conversion == "d" {
      throw renderer.failure("a format has a precision of a whole number")
    }
    return try field.text(value, renderer)
  }
}
