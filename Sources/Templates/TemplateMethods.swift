/// The methods of Python's texts, lists and dictionaries.
enum TemplateMethods {
  /// Every public method of `str`: they are there to be asked for, though not all can be called.
  static let textNames: Set<String> = [
    "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map",
    "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
    "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "maketrans", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
  ]

  /// A whole number, if there is one; None counts as absent.
  static func integer(_ value: TemplateValue?, _ renderer: TemplateRenderer) throws -> Int? {
    switch value {
    case nil, .some(.none): return nil
    case .some(let value):
      try renderer.use(value)
      guard let whole = value.index else { throw renderer.failure("a \(value.typeName) stands for a whole number") }
      return whole
    }
  }

  static func replaced(
    _ text: TemplateText, _ old: TemplateText, _ new: TemplateText, _ limit: Int, _ renderer: TemplateRenderer
  ) throws -> TemplateText {
    let places = old.isEmpty ? text.count + 1 : text.indices(of: old, limit: limit).count
    let count = limit < 0 ? places : min(places, limit)
    try renderer.write(text.count + renderer.product(new.count, count))
    return text.replacing(old, with: new, limit: limit)
  }

  static func call(
    _ name: String, of object: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    let title = "the method '\(name)' of a \(object.typeName)"
    switch object {
    case .string(let text):
      try renderer.write(text.count / 4 + 1)
      if let result = try TextMethod(name: name, title: title, arguments: arguments, renderer: renderer).call(text) {
        return result
      }
    case .dictionary(let dictionary):
      switch name {
      case "items":
        _ = try arguments.bound(to: [], of: title, renderer)
        try renderer.write(3 * dictionary.count)
        return .view(TemplateList(dictionary.items), name: "dict_items")
      case "keys":
        _ = try arguments.bound(to: [], of: title, renderer)
        return .view(TemplateList(dictionary.keys), name: "dict_keys")
      case "values":
        _ = try arguments.bound(to: [], of: title, renderer)
        return .view(TemplateList(dictionary.values), name: "dict_values")
      case "copy":
        _ = try arguments.bound(to: [], of: title, renderer)
        return try renderer.dictionary(dictionary.members)
      case "get":
        guard arguments.named.isEmpty else { throw renderer.failure("\(title) takes no arguments with names") }
        let given = try arguments.bound(to: ["key", "default"], required: 1, of: title, renderer)
        try renderer.check(key: given[0]!)
        return dictionary[given[0]!] ?? given[1] ?? .none
      default: break
      }
    case .list(let list), .tuple(let list):
      guard arguments.named.isEmpty else { throw renderer.failure("\(title) takes no arguments with names") }
      switch name {
      case "copy":
        _ = try arguments.bound(to: [], of: title, renderer)
        return try renderer.list(list.values)
      case "count":
        let value = try arguments.bound(to: ["value"], required: 1, of: title, renderer)[0]!
        return .integer(try list.values.count { try renderer.equal($0, value) })
      case "index":
        let value = try arguments.bound(to: ["value"], required: 1, of: title, renderer)[0]!
        guard let place = try list.values.firstIndex(where: { try renderer.equal($0, value) }) else {
          throw renderer.failure("\(title) does not find the value")
        }
        return .integer(place)
      default: break
      }
    default: break
    }
    throw renderer.unsupported(title)
  }
}

/// One call of a method of a text.
struct TextMethod {
  let name: String
  let title: String
  let arguments: TemplateCallArguments
  let renderer: TemplateRenderer

  private func given(_ names: [String] = [], required: Int = 0) throws -> [TemplateValue?] {
    try arguments.bound(to: names, required: required, of: title, renderer)
  }

  private func text(_ value: TemplateValue?) throws -> TemplateText? {
    switch value {
    case nil, .some(.none): return nil
    case .some(let value):
      try renderer.use(value)
      guard let text = value.text else { throw renderer.failure("\(title) takes a text, not a \(value.typeName)") }
      return text
    }
  }

  private func neededText(_ value: TemplateValue?) throws -> TemplateText {
    guard let text = try text(value) else { throw renderer.failure("\(title) needs a text") }
    return text
  }

  private func unnamed() throws {
    if !arguments.named.isEmpty { throw renderer.failure("\(title) takes no arguments with names") }
  }

  /// nil if the method is not supported.
  func call(_ text: TemplateText) throws -> TemplateValue? {
    switch name {
    case "upper", "lower", "title", "capitalize", "swapcase", "casefold": return try changed(text)
    case "strip", "lstrip", "rstrip":
      try unnamed()
      let characters = try self.text(try given(["chars"])[0])
      return .string(text.stripped(characters, name == "strip" ? .both : name == "lstrip" ? .left : .right))
    case "split", "rsplit": return try split(text)
    case "splitlines":
      let lines = text.lines(keepEnds: try given(["keepends"])[0]?.isTrue ?? false)
      return try renderer.list(lines.map(TemplateValue.string))
    case "join": return try joined(text)
    case "replace":
      try unnamed()
      let values = try given(["old", "new", "count"], required: 2)
      var (old, new) = (try neededText(values[0]), try neededText(values[1]))
      if text.isSafe { (old, new) = (old.escapedForHTML, new.escapedForHTML) }
      let limit = try TemplateMethods.integer(values[2], renderer) ?? -1
      return .string(try TemplateMethods.replaced(text, old, new, limit, renderer))
    case "startswith", "endswith": return .bool(try hasEnd(text))
    case "find", "rfind", "index", "rindex", "count": return try found(text)
    case "partition", "rpartition": return try partitioned(text)
    case "removeprefix", "removesuffix":
      try unnamed()
      let end = try neededText(try given(["end"], required: 1)[0])
      if name == "removeprefix" { return .string(text.hasPrefix(end) ? text[end.count..<text.count] : text) }
      return .string(text.hasSuffix(end) ? text[0..<text.count - end.count] : text)
    case "center", "ljust", "rjust", "zfill": return try padded(text)
    case "format":
      if text.isSafe { throw renderer.unsupported("the method 'format' of a safe text") }
      return .string(try renderer.written(try BraceFormat.format(text, arguments, renderer)))
    default: return try isOfKind(text).map(TemplateValue.bool)
    }
  }

  private func changed(_ text: TemplateText) throws -> TemplateValue {
    _ = try given()
    let text = try renderer.written(text)
    switch name {
    case "upper": return .string(text.uppercased())
    case "lower": return .string(text.lowercased())
    case "title": return .string(text.titlecased())
    case "capitalize": return .string(text.capitalized())
    case "swapcase": return .string(text.caseSwapped())
    default:
      guard text.scalars.allSatisfy(\.isASCII) else { throw renderer.unsupported("'casefold' of text outside ASCII") }
      return .string(text.lowercased())
    }
  }

  private func split(_ text: TemplateText) throws -> TemplateValue {
    let values = try given(["sep", "maxsplit"])
    let limit = try TemplateMethods.integer(values[1], renderer) ?? -1
    let parts: [TemplateText]
    try renderer.write(4 * text.count)
    if let separator = try self.text(values[0]) {
      if separator.isEmpty { throw renderer.failure("\(title) has an empty separator") }
      parts = name == "split" ? text.split(separator, limit: limit) : text.splitFromRight(separator, limit: limit)
    } else {
      parts = name == "split" ? text.words(limit: limit) : text.wordsFromRight(limit: limit)
    }
    return try renderer.list(parts.map(TemplateValue.string))
  }

  private func joined(_ separator: TemplateText) throws -> TemplateValue {
    try unnamed()
    let value = try given(["iterable"], required: 1)[0]!
    try renderer.use(value.isTrue || value.typeName != "Undefined" ? value : .list(TemplateList([])))
    let items = try renderer.items(of: value)
    try renderer.write(renderer.product(separator.count, items.count))
    let parts = try items.map { item in
      guard let text = item.text else { throw renderer.failure("\(title) joins texts, not a \(item.typeName)") }
      return try renderer.written(separator.isSafe ? text.escapedForHTML : text)
    }
    return .string(TemplateText.joined(parts, by: separator))
  }

  private func hasEnd(_ text: TemplateText) throws -> Bool {
    try unnamed()
    let values = try given(["part", "start", "end"], required: 1)
    let range = try self.range(values[1], values[2], in: text)
    guard let range else { return false }
    let part = text[range]
    func has(_ end: TemplateText) -> Bool { name == "startswith" ? part.hasPrefix(end) : part.hasSuffix(end) }
    if case .tuple(let list)? = values[0] { return try list.values.contains { has(try neededText($0)) } }
    return has(try neededText(values[0]))
  }

  /// The range that `start` and `end` name; nil if it begins after its end, where nothing is found.
  private func range(_ start: TemplateValue?, _ end: TemplateValue?, in text: TemplateText) throws -> Range<Int>? {
    func bound(_ value: TemplateValue?, _ absent: Int) throws -> Int {
      guard let place = try TemplateMethods.integer(value, renderer) else { return absent }
      return place < 0 ? max(0, place < -text.count ? 0 : place + text.count) : place
    }
    let (first, last) = (try bound(start, 0), min(try bound(end, text.count), text.count))
    return first <= last ? first..<last : nil
  }

  private func found(_ text: TemplateText) throws -> TemplateValue {
    try unnamed()
    let values = try given(["part", "start", "end"], required: 1)
    let part = try neededText(values[0])
    let range = try self.range(values[1], values[2], in: text)
    if name == "count" {
      guard let range else { return .integer(0) }
      return .integer(part.isEmpty ? range.count + 1 : text.indices(of: part, in: range).count)
    }
    let isFromRight = name.hasPrefix("r")
    let place = range.flatMap { isFromRight ? text.lastIndex(of: part, in: $0) : text.firstIndex(of: part, in: $0) }
    if place == nil, name.hasSuffix("index") { throw renderer.failure("\(title) does not find the text") }
    return .integer(place ?? -1)
  }

  private func partitioned(_ text: TemplateText) throws -> TemplateValue {
    try unnamed()
    let separator = try neededText(try given(["sep"], required: 1)[0])
    if separator.isEmpty { throw renderer.failure("\(title) has an empty separator") }
    let range = 0..<text.count
    let isFromRight = name == "rpartition"
    let place = isFromRight ? text.lastIndex(of: separator, in: range) : text.firstIndex(of: separator, in: range)
    let parts: [TemplateText]
    if let place {
      parts = [text[0..<place], separator, text[place + separator.count..<text.count]]
    } else {
      parts = isFromRight ? [TemplateText(), TemplateText(), text] : [text, TemplateText(), TemplateText()]
    }
    return try renderer.tuple(parts.map(TemplateValue.string))
  }

  private func padded(_ text: TemplateText) throws -> TemplateValue {
    try unnamed()
    let values = try given(["width", "fillchar"], required: 1)
    guard let width = try TemplateMethods.integer(values[0], renderer) else {
      throw renderer.failure("\(title) needs a width")
    }
    try renderer.write(width)
    if name == "zfill" {
      let hasSign = text.scalars.first == "-" || text.scalars.first == "+"
      let digits = text[(hasSign ? 1 : 0)..<text.count]
      return .string(text[0..<(hasSign ? 1 : 0)] + digits.padded(to: width - (hasSign ? 1 : 0), .left, with: "0"))
    }
    let fill = try self.text(values[1]) ?? " "
    guard fill.count == 1 else { throw renderer.failure("\(title) fills with one character") }
    return .string(text.padded(to: width, name == "center" ? .both : name == "ljust" ? .right : .left, with: fill))
  }

  private func isOfKind(_ text: TemplateText) throws -> Bool? {
    guard name.hasPrefix("is") else { return nil }
    let scalars = text.scalars
    func all(_ has: (Unicode.Scalar) -> Bool) -> Bool { !scalars.isEmpty && scalars.allSatisfy(has) }
    func cased(_ forbidden: (Unicode.Scalar) -> Bool) -> Bool {
      scalars.contains(where: \.isPythonCased) && !scalars.contains { $0.isPythonTitlecase || forbidden($0) }
    }
    let result: Bool
    switch name {
    case "isalpha": result = all(\.isPythonLetter)
    case "isdigit": result = all(\.isPythonDigit)
    case "isdecimal": result = all(\.isPythonDecimal)
    case "isnumeric": result = all(\.isPythonNumeric)
    case "isalnum": result = all(\.isPythonAlphanumeric)
    case "isspace": result = all(\.isPythonSpace)
    case "islower": result = cased(\.isPythonUppercase)
    case "isupper": result = cased(\.isPythonLowercase)
    case "isascii": result = scalars.allSatisfy(\.isASCII)
    case "isprintable": result = scalars.allSatisfy(\.isPythonPrintable)
    default: return nil
    }
    _ = try given()
    return result
  }
}
