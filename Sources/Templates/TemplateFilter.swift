import Foundation

/// The filters of Jinja, with `tojson` as `transformers` has it.
enum TemplateFilter {
  private static let texts: Set<String> = [
    "capitalize", "center", "e", "escape", "forceescape", "format", "indent", "join", "lower", "replace", "safe",
    "string", "title", "tojson", "trim", "truncate", "upper", "wordcount",
  ]
  private static let sequences: Set<String> = [
    "attr", "batch", "count", "dictsort", "first", "groupby", "items", "last", "length", "list", "map", "max", "min",
    "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
  ]
  private static let others: Set<String> = ["abs", "d", "default", "float", "int", "round"]
  /// Jinja has these; no chat template needs them.
  private static let refused: Set<String> = [
    "filesizeformat", "pprint", "random", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr",
  ]

  static func isKnown(_ name: String) -> Bool {
    texts.contains(name) || sequences.contains(name) || others.contains(name) || refused.contains(name)
  }

  static func apply(
    _ name: String, to value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.nested {
      if texts.contains(name) { return try applyToText(name, value, arguments, renderer) }
      if sequences.contains(name) { return try applyToSequence(name, value, arguments, renderer) }
      if others.contains(name) { return try applyToScalar(name, value, arguments, renderer) }
      if refused.contains(name) { throw renderer.unsupported("the filter '\(name)'") }
      throw renderer.failure("there is no filter '\(name.prefix(80))'")
    }
  }

  private static func applyToText(
    _ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    let title = "the filter '\(name)'"
    func given(_ names: [String], required: Int = 0) throws -> [TemplateValue?] {
      try arguments.bound(to: names, required: required, of: title, renderer)
    }
    func input() throws -> TemplateText { try renderer.written(try renderer.text(value)) }
    switch name {
    case "capitalize":
      _ = try given([])
      return .string(try input().capitalized())
    case "center":
      let width = try TemplateMethods.integer(try given(["width"])[0], renderer) ?? 80
      try renderer.write(width)
      return .string(try input().padded(to: width, .both))
    case "e", "escape", "forceescape":
      _ = try given([])
      var text = try input()
      if name == "forceescape" { text.isSafe = false }
      return .string(try renderer.written(text.escapedForHTML))
    case "format":
      guard arguments.positional.isEmpty || arguments.named.isEmpty else {
        throw renderer.failure("\(title) takes arguments either with names or without")
      }
      let values =
        arguments.named.isEmpty
        ? try renderer.tuple(arguments.positional)
        : try renderer.dictionary(arguments.named.map { (.string($0.name), $0.value) })
      return .string(try renderer.written(try PrintfFormat.format(try input(), values, renderer)))
    case "indent": return try indented(value, try given(["width", "first", "blank"]), renderer)
    case "join": return try joined(value, try given(["d", "attribute"]), renderer)
    case "lower":
      _ = try given([])
      return .string(try input().lowercased())
    case "upper":
      _ = try given([])
      return .string(try input().uppercased())
    case "title":
      _ = try given([])
      return .string(try input().wordsTitlecased())
    case "replace":
      let values = try given(["old", "new", "count"], required: 2)
      var (text, old, new) = (try input(), try renderer.text(values[0]!), try renderer.text(values[1]!))
      (text.isSafe, old.isSafe, new.isSafe) = (false, false, false)
      let limit = try TemplateMethods.integer(values[2], renderer) ?? -1
      return .string(try TemplateMethods.replaced(text, old, new, limit, renderer))
    case "safe":
      _ = try given([])
      var text = try input()
      text.isSafe = true
      return .string(text)
    case "string":
      _ = try given([])
      return .string(try input())
    case "tojson":
      var json = try JSONText(arguments, renderer)
      return .string(try renderer.written(try json.text(of: value, renderer)))
    case "trim":
      let characters = try given(["chars"])[0]
      if case .some(.none) = characters { return .string(try input().stripped()) }
      if let characters, characters.text == nil { throw renderer.failure("\(title) takes a text") }
      return .string(try input().stripped(characters?.text))
    case "truncate": return try truncated(value, try given(["length", "killwords", "end", "leeway"]), renderer)
    default:  // wordcount
      _ = try given([])
      var (count, isInside) = (0, false)
      for scalar in try input().scalars {
        if scalar.isPythonWord, !isInside { count += 1 }
        isInside = scalar.isPythonWord
      }
      return .integer(count)
    }
  }

  private static func indented(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.use(value)
    guard let text = value.text else { throw renderer.failure("the filter 'indent' takes a text") }
    let margin: TemplateText
    if let width = given[0]?.text {
      margin = width
    } else {
      let width = try TemplateMethods.integer(given[0], renderer) ?? 4
      try renderer.write(width)
      margin = TemplateText(String(repeating: " ", count: max(0, width)))
    }
    let (indentsFirst, indentsBlank) = (given[1]?.isTrue ?? false, given[2]?.isTrue ?? false)
    let lines = (text + "\n").lines()
    try renderer.write(text.count + renderer.product(lines.count, margin.count + 1))
    var result = TemplateText()
    for (index, line) in lines.enumerated() {
      if index > 0 { result.append("\n") }
      if index == 0 ? indentsFirst : indentsBlank || !line.isEmpty { result.append(margin) }
      result.append(line)
    }
    result.isSafe = text.isSafe
    return .string(result)
  }

  private static func joined(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    var parts = try renderer.items(of: value)
    if let attribute = given[1], !isNone(attribute) {
      let path = try AttributePath(attribute, renderer)
      parts = try parts.map { try path.value(of: $0, renderer) }
    }
    let separator = try given[0].map { try renderer.text($0) } ?? TemplateText()
    try renderer.write(renderer.product(separator.count, parts.count))
    var result = TemplateText()
    for (index, part) in parts.enumerated() {
      try renderer.step()
      if index > 0 { result.append(separator) }
      result.append(try renderer.written(try renderer.text(part)))
    }
    return .string(result)
  }

  private static func truncated(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    guard let text = value.text else { throw renderer.unsupported("the filter 'truncate' of a \(value.typeName)") }
    let length = try TemplateMethods.integer(given[0], renderer) ?? 255
    let end = given[2]?.text ?? "..."
    let leeway = try TemplateMethods.integer(given[3], renderer) ?? 5
    guard length >= end.count, leeway >= 0 else {
      throw renderer.failure("the filter 'truncate' has too short a length")
    }
    let (most, isTooLarge) = length.addingReportingOverflow(leeway)
    if isTooLarge || text.count <= most { return value }
    var start = text[0..<min(text.count, length - end.count)]
    if !(given[1]?.isTrue ?? false), let space = start.lastIndex(of: " ", in: 0..<start.count) {
      start = start[0..<space]
    }
    return .string(try renderer.written(start + end))
  }

  static func isNone(_ value: TemplateValue) -> Bool { if case .none = value { true } else { false } }

  private static func applyToScalar(
    _ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    let title = "the filter '\(name)'"
    switch name {
    case "default", "d":
      let given = try arguments.bound(to: ["default_value", "boolean"], of: title, renderer)
      var isMissing = (given[1]?.isTrue ?? false) && !value.isTrue
      if case .undefined = value { isMissing = true }
      return isMissing ? given[0] ?? .string("") : value
    case "abs":
      _ = try arguments.bound(to: [], of: title, renderer)
      try renderer.use(value)
      if let whole = value.index {
        guard whole != .min else { throw renderer.failure("a whole number becomes too large") }
        return .integer(abs(whole))
      }
      guard case .float(let number) = value else { throw renderer.failure("\(title) takes a number") }
      return .float(abs(number))
    case "int":
      return try TemplateNumbers.integer(
        value, try arguments.bound(to: ["default", "base"], of: title, renderer), renderer)
    case "float":
      let given = try arguments.bound(to: ["default"], of: title, renderer)
      return try TemplateNumbers.float(value, renderer).map(TemplateValue.float) ?? given[0] ?? .float(0)
    default:  // round
      let given = try arguments.bound(to: ["precision", "method"], of: title, renderer)
      return try TemplateNumbers.rounded(value, given, renderer)
    }
  }
}
