/// What the argument `attribute` of a filter names: parts with dots between them.
struct AttributePath {
  private var parts: [TemplateValue] = []

  init(_ value: TemplateValue, _ renderer: TemplateRenderer) throws {
    switch value {
    case .none: break
    case .string(let text):
      parts = text.split(".", limit: -1).map { part in
        let isNumber = !part.isEmpty && part.scalars.allSatisfy(\.isPythonDigit)
        return isNumber ? Int(part.string).map(TemplateValue.integer) ?? .string(part) : .string(part)
      }
    default: parts = [value]
    }
  }

  func value(
    of item: TemplateValue, default absent: TemplateValue? = nil, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.step()
    var item = item
    for part in parts {
      item = try renderer.item(part, of: item)
      if let absent, case .undefined = item { item = absent }
    }
    return item
  }
}

extension TemplateFilter {
  static func applyToSequence(
    _ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    let title = "the filter '\(name)'"
    func given(_ names: [String], required: Int = 0) throws -> [TemplateValue?] {
      try arguments.bound(to: names, required: required, of: title, renderer)
    }
    switch name {
    case "map", "select", "reject", "selectattr", "rejectattr":
      return try renderer.generator { [unowned renderer] in
        guard value.isTrue else { return [] }
        return name == "map"
          ? try mapped(value, arguments, renderer) : try selected(name, value, arguments, renderer)
      }
    case "attr":
      guard let attribute = try given(["name"], required: 1)[0]?.text else {
        throw renderer.failure("\(title) takes a text")
      }
      if case .dictionary = value {
        return try renderer.attribute(attribute.string, of: .dictionary(TemplateDictionary([])))
      }
      return try renderer.attribute(attribute.string, of: value)
    case "count", "length":
      _ = try given([])
      return .integer(try renderer.count(of: value))
    case "first":
      _ = try given([])
      if case .generator(let generator) = value { return try generator.next() ?? .undefined("there is no first item") }
      return try renderer.items(of: value).first ?? .undefined("there is no first item")
    case "last":
      _ = try given([])
      if case .generator = value { throw renderer.failure("\(title) does not take a generator") }
      return try renderer.items(of: value).last ?? .undefined("there is no last item")
    case "list":
      _ = try given([])
      return try renderer.list(try renderer.items(of: value))
    case "items":
      _ = try given([])
      if case .undefined = value { return try renderer.generator { [] } }
      return try renderer.generator { [unowned renderer] in
        guard case .dictionary(let dictionary) = value else { throw renderer.failure("\(title) takes a dictionary") }
        try renderer.write(3 * dictionary.count)
        return dictionary.items
      }
    case "reverse":
      _ = try given([])
      if case .string(let text) = value { return try renderer.slice(.string(text), nil, nil, .integer(-1)) }
      let items = try renderer.items(of: value)
      return try renderer.generator { items.reversed() }
    case "dictsort": return try dictionarySorted(value, try given(["case_sensitive", "by", "reverse"]), renderer)
    case "sort": return try sorted(value, try given(["reverse", "case_sensitive", "attribute"]), renderer)
    case "min", "max": return try extreme(name, value, try given(["case_sensitive", "attribute"]), renderer)
    case "unique": return try unique(value, try given(["case_sensitive", "attribute"]), renderer)
    case "sum":
      let values = try given(["attribute", "start"])
      var items = try renderer.items(of: value)
      if let attribute = values[0], !isNone(attribute) {
        let path = try AttributePath(attribute, renderer)
        items = try items.map { try path.value(of: $0, renderer) }
      }
      var result = values[1] ?? .integer(0)
      if result.text != nil { throw renderer.failure("\(title) does not add texts") }
      for item in items {
        try renderer.step()
        result = try renderer.arithmetic("+", result, item)
      }
      return result
    case "batch": return try batched(value, try given(["linecount", "fill_with"], required: 1), renderer)
    case "slice": return try sliced(value, try given(["slices", "fill_with"], required: 1), renderer)
    default: throw renderer.unsupported("the filter '\(name)'")
    }
  }

  private static func mapped(
    _ value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> [TemplateValue] {
    if arguments.positional.isEmpty, arguments.named.contains(where: { $0.name == "attribute" }) {
      let given = try arguments.bound(to: ["attribute", "default"], of: "the filter 'map'", renderer)
      let path = try AttributePath(given[0]!, renderer)
      let absent = given[1].flatMap { isNone($0) ? nil : $0 }
      return try renderer.items(of: value).map { try path.value(of: $0, default: absent, renderer) }
    }
    guard let name = arguments.positional.first?.text?.string else {
      throw renderer.failure("the filter 'map' needs the name of a filter")
    }
    var rest = arguments
    rest.positional.removeFirst()
    return try renderer.items(of: value).map { item in
      try renderer.step()
      return try apply(name, to: item, rest, renderer)
    }
  }

  private static func selected(
    _ name: String, _ value: TemplateValue, _ arguments: TemplateCallArguments, _ renderer: TemplateRenderer
  ) throws -> [TemplateValue] {
    var rest = arguments
    var path: AttributePath?
    if name.hasSuffix("attr") {
      guard !rest.positional.isEmpty else {
        throw renderer.failure("the filter '\(name)' needs the name of an attribute")
      }
      path = try AttributePath(rest.positional.removeFirst(), renderer)
    }
    var test: String?
    if !rest.positional.isEmpty {
      guard let name = rest.positional.removeFirst().text?.string else {
        throw renderer.failure("the filter '\(name)' needs the name of a test")
      }
      test = name
    }
    let keeps = name.hasPrefix("select")
    return try renderer.items(of: value).filter { item in
      try renderer.step()
      let subject = try path?.value(of: item, renderer) ?? item
      let holds = try test.map { try TemplateTest.apply($0, to: subject, rest, renderer) } ?? subject.isTrue
      return holds == keeps
    }
  }

  // Order.

  /// Sorts by Python's order, keeping that of equal items.
  static func sort<Item>(
    _ items: inout [Item], isReversed: Bool = false, _ renderer: TemplateRenderer,
    by key: (Item) throws -> TemplateValue
  ) throws {
    var keyed = try items.enumerated().map { try (key($1), $0) }
    try keyed.sort { left, right in
      try renderer.step()
      if try renderer.holds("<", left.0, right.0) { return !isReversed }
      if try renderer.holds("<", right.0, left.0) { return isReversed }
      return left.1 < right.1
    }
    items = keyed.map { items[$0.1] }
  }

  static func sort<Item>(
    _ items: inout [Item], _ renderer: TemplateRenderer, _ key: (Item) throws -> TemplateValue
  ) throws {
    try sort(&items, isReversed: false, renderer, by: key)
  }

  private static func folded(_ value: TemplateValue, isCaseSensitive: Bool) -> TemplateValue {
    if !isCaseSensitive, case .string(let text) = value { return .string(text.lowercased()) }
    return value
  }

  private static func dictionarySorted(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    try renderer.use(value)
    guard case .dictionary(let dictionary) = value else {
      throw renderer.failure("the filter 'dictsort' takes a dictionary")
    }
    let by = given[1]?.text?.string ?? "key"
    guard by == "key" || by == "value" else { throw renderer.failure("the filter 'dictsort' sorts by key or value") }
    var members = dictionary.members
    try renderer.write(value.measure.size)
    try sort(&members, isReversed: given[2]?.isTrue ?? false, renderer) { member in
      folded(by == "key" ? member.0 : member.1, isCaseSensitive: given[0]?.isTrue ?? false)
    }
    return try renderer.list(try members.map { try renderer.tuple([$0.0, $0.1]) })
  }

  private static func sorted(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    var items = try renderer.items(of: value)
    let attributes: [TemplateValue]
    if let text = given[2]?.text {
      attributes = text.split(",", limit: -1).map { .string($0) }
    } else {
      attributes = [given[2] ?? .none]
    }
    let paths = try attributes.map { try AttributePath($0, renderer) }
    try sort(&items, isReversed: given[0]?.isTrue ?? false, renderer) { item in
      try renderer.list(
        try paths.map { path in
          let key = try path.value(of: item, renderer)
          if let text = key.text { try renderer.write(text.count) }
          return folded(key, isCaseSensitive: given[1]?.isTrue ?? false)
        })
    }
    return try renderer.list(items)
  }

  private static func extreme(
    _ name: String, _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    let path = try AttributePath(given[1] ?? .none, renderer)
    var best: (key: TemplateValue, item: TemplateValue)?
    for item in try renderer.items(of: value) {
      let key = folded(try path.value(of: item, renderer), isCaseSensitive: given[0]?.isTrue ?? false)
      guard let current = best else {
        best = (key, item)
        continue
      }
      if try name == "min" ? renderer.holds("<", key, current.key) : renderer.holds("<", current.key, key) {
        best = (key, item)
      }
    }
    return best?.item ?? .undefined("the sequence is empty")
  }

  private static func unique(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    let path = try AttributePath(given[1] ?? .none, renderer)
    return try renderer.generator { [unowned renderer] in
      var seen: Set<TemplateKey> = []
      return try renderer.items(of: value).filter { item in
        let key = folded(try path.value(of: item, renderer), isCaseSensitive: given[0]?.isTrue ?? false)
        try renderer.check(key: key)
        return seen.insert(TemplateKey(value: key)).inserted
      }
    }
  }

  private static func batched(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    guard let size = try TemplateMethods.integer(given[0], renderer), size > 0 else {
      throw renderer.failure("the filter 'batch' needs a positive whole number")
    }
    let items = try renderer.items(of: value)
    return try renderer.generator { [unowned renderer] in
      try stride(from: 0, to: items.count, by: min(size, max(1, items.count))).map { start in
        var batch = Array(items[start..<min(items.count, start + min(size, items.count))])
        if let fill = given[1], !isNone(fill), batch.count < size {
          try renderer.write(size)
          batch += [TemplateValue](repeating: fill, count: size - batch.count)
        }
        return try renderer.list(batch)
      }
    }
  }

  private static func sliced(
    _ value: TemplateValue, _ given: [TemplateValue?], _ renderer: TemplateRenderer
  ) throws -> TemplateValue {
    guard let slices = try TemplateMethods.integer(given[0], renderer), slices > 0 else {
      throw renderer.failure("the filter 'slice' needs a positive whole number")
    }
    try renderer.write(slices)
    let items = try renderer.items(of: value)
    let (size, extra) = items.count.quotientAndRemainder(dividingBy: slices)
    return try renderer.generator { [unowned renderer] in
      var start = 0
      return try (0..<slices).map { number in
        let end = start + size + (number < extra ? 1 : 0)
        var part = Array(items[start..<end])
        start = end
        if let fill = given[1], !isNone(fill), number >= extra { part.append(fill) }
        return try renderer.list(part)
      }
    }
  }
}
