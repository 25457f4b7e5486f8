import Storage

/// The chat template that a tokenizer's files bring, as Jinja text.
enum ChatTemplateSource: Equatable {
  case none
  /// The template to use, and another one to use where there are tools, if it is different.
  case text(String, forTools: String? = nil)
  /// Several by name, none of which is called `default`.
  case several([String])

  /// What the member `chat_template` of a file says: a text, or texts by name as a list or an object.
  ///
  /// Of several `transformers` uses `default`, unless tools are given and there is one for tools.
  init(_ value: JSON?, path: String) throws(TokenizerError) {
    let entries: [(name: JSON?, text: JSON?)]
    switch value {
    case nil, .null:
      self = .none
      return
    case .string(let text):
      self = .text(text)
      return
    case .array(let list): entries = list.map { ($0["name"], $0["template"]) }
    case .object(let members): entries = members.map { (.string($0.key), $0.value) }
    case .some(let value): throw TokenizerError("\(path): chat_template is \(value.kind), a text is expected.")
    }
    var templates: [String: String] = [:]
    for entry in entries {
      guard case .string(let name)? = entry.name, case .string(let text)? = entry.text else {
        throw TokenizerError("\(path): chat_template has an entry without a name or a text.")
      }
      templates[name] = text
    }
    self = Self(named: templates)
  }

  private init(named templates: [String: String]) {
    if templates.isEmpty {
      self = .none
    } else {
      self =
        templates["default"].map { .text($0, forTools: templates["tool_use"]) } ?? .several(templates.keys.sorted())
    }
  }

  /// The template that a tokenizer's files bring. Files of templates come before `tokenizer_config.json`, as in
  /// `transformers`; `chat_template.json`, which older versions wrote for models with images, counts last.
  ///
  /// - Throws: `FileError` or `TokenizerError` when a file cannot be read.
  init(_ files: TokenizerFiles) throws {
    func json(_ name: String) throws -> ChatTemplateSource {
      let path = files.path(of: name)
      guard let content = try files.content(name) else { return .none }
      let value = try content.withUnsafeBytes { try JSON(parsing: $0, path: path) }
      return try ChatTemplateSource(value["chat_template"], path: path)
    }
    var templates: [String: String] = [:]
    for name in files.names where name.hasSuffix(".jinja") {
      let text = String(decoding: try files.content(name) ?? [], as: UTF8.self)
      let file = name.split(separator: "/").last?.dropLast(".jinja".count) ?? ""
      templates[name == "chat_template.jinja" ? "default" : String(file)] = text
    }
    self = Self(named: templates)
    if self == .none { self = try json("tokenizer_config.json") }
    if self == .none { self = try json("chat_template.json") }
  }
}
