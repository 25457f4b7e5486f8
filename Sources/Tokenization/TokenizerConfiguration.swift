import Storage

/// What `tokenizer_config.json` says of the tokens. `ChatTemplateSource` reads the other part that matters here.
struct TokenizerConfiguration {
  /// nil where the file names none and the tokenizer has none of the usual name: no byte is unknown.
  private(set) var unknownToken: String?
  /// nil where the file says that there is none.
  private(set) var beginToken: String? = "<s>"
  private(set) var endToken = "</s>"
  /// The tokens that `transformers` knows by these names, for templates: `bos_token` and others that the file names.
  private(set) var namedTokens: [(name: String, text: String)] = []
  /// Tokens that the file names, in the order in which `transformers` adds those that are missing.
  private var declaredTokens: [DeclaredToken] = []

  private struct DeclaredToken {
    let key: String
    let content: String
    let flags: AddedToken.Flags
    /// Whether the file says the flags of the token, which must then be those of `tokenizer.json`.
    let isExact: Bool
  }

  private let path: String

  /// The names that `transformers` knows; other members that end in `_token` name tokens, too, if they are texts.
  private static let tokenNames = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// For a tokenizer without the file: the usual names.
  init() { path = "tokenizer_config.json" }

  /// - Parameter specialTokensMap: `special_tokens_map.json`, which older versions of `transformers` wrote; it counts where
  ///   `tokenizer_config.json` has no `added_tokens_decoder`.
  init(_ bytes: UnsafeRawBufferPointer, path: String, specialTokensMap: JSON? = nil) throws(TokenizerError) {
    self.path = path
    let root = try JSON(parsing: bytes, path: path)
    guard case .object(var members) = root else { throw fault("it is \(root.kind) where an object is expected") }
    if root["added_tokens_decoder"] == nil, case .object(let older)? = specialTokensMap {
      members.removeAll { member in older.contains { $0.key == member.key } }
      members += older
    }
    if let splits = root["split_special_tokens"], splits != .bool(false), splits != .null {
      throw fault("split_special_tokens is not supported; remove it, or encode with --special-as-text")
    }
    try readAddedTokens(root["added_tokens_decoder"])
    try readNames(members)
  }

  /// Of a tokenizer by its files.
  ///
  /// - Throws: `FileError` or `TokenizerError`.
  init(_ files: TokenizerFiles) throws {
    func withContent<Value>(_ name: String, _ body: (UnsafeRawBufferPointer, String) throws -> Value) throws -> Value? {
      try files.content(name)?.withUnsafeBytes { try body($0, files.path(of: name)) }
    }
    let specials = try withContent("special_tokens_map.json") { try JSON(parsing: $0, path: $1) }
    self =
      try withContent("tokenizer_config.json") { try TokenizerConfiguration($0, path: $1, specialTokensMap: specials) }
      ?? TokenizerConfiguration()
  }

  private func fault(_ reason: String) -> TokenizerError { TokenizerError("\(path): \(reason).") }

  private mutating func readAddedTokens(_ decoder: JSON?) throws(TokenizerError) {
    switch decoder {
    case nil, .null: break
    case .object(let entries):
      for entry in entries.sorted(by: { (Int($0.key) ?? 0) < (Int($1.key) ?? 0) }) {
        try declare("added_tokens_decoder", entry.value, isExact: true)
      }
    case .some(let value): throw fault("added_tokens_decoder is \(value.kind), an object is expected")
    }
  }

  private mutating func readNames(_ members: [JSON.Member]) throws(TokenizerError) {
    var extra: [JSON] = []
    for key in ["additional_special_tokens", "extra_special_tokens"] {
      let values: [JSON]
      switch members.first(where: { $0.key == key })?.value {
      case nil, .null: continue
      case .array(let list): values = list
      // By names of one's own.
      case .object(let entries): values = entries.map(\.value)
      case .some(let value): throw fault("\(key) is \(value.kind), a list of tokens is expected")
      }
      // The newer key alone counts, unless it is empty.
      if !values.isEmpty { extra = values }
    }
    for member in members where member.key.hasSuffix("_token") {
      let isKnown = Self.tokenNames.contains(member.key)
      if member.value == .null {
        if member.key == "bos_token" { beginToken = nil }
        continue
      }
      guard isKnown || member.value.stringValue != nil else { continue }
      let content = try declare(member.key, member.value)
      if isKnown { namedTokens.append((member.key, content)) }
      switch member.key {
      case "bos_token": beginToken = content
      case "eos_token": endToken = content
      case "unk_token": unknownToken = content
      default: break
      }
    }
    for token in extra { try declare("extra_special_tokens", token) }
  }

  /// Notes a token: a text, or an object with its `content` and flags.
  ///
  /// - Returns: its text.
  @discardableResult
  private mutating func declare(_ key: String, _ value: JSON, isExact: Bool = false) throws(TokenizerError) -> String {
    guard case .string(let content)? = value.stringValue.map(JSON.string) ?? value["content"] else {
      throw fault("\(key) is \(value.kind), the text of a token is expected")
    }
    var flags = AddedToken.Flags.special
    if case .object = value {
      // `AddedToken` of `tokenizers`: not special and normalized where nothing is said.
      let isSpecial = isExact ? value["special"] == .bool(true) : true
      do {
        flags = try AddedToken.Flags(value, default: .init(isSpecial: isSpecial, isNormalized: !isSpecial))
      } catch {
        throw fault("\(error.key) of the token \(content.inQuotes) in \(key) is neither true nor false")
      }
    }
    declaredTokens.append(DeclaredToken(key: key, content: content, flags: flags, isExact: isExact))
    return content
  }

  /// What `transformers` adds to the added tokens of `tokenizer.json`: entries of the vocabulary that this file names.
  ///
  /// - Parameters:
  ///   - added: those of `tokenizer.json`.
  ///   - tokens: the vocabulary by id, the added ones included.
  /// - Throws: `TokenizerError` where the files contradict each other, and for a token that would need a new id, for which
  ///   no model that belongs to these files has weights.
  func tokensToAdd(to added: [AddedToken], tokens: [String?]) throws(TokenizerError) -> [AddedToken] {
    if declaredTokens.isEmpty { return [] }
    var known: [[UInt8]: AddedToken] = [:]
    for token in added { known[Array(token.content.utf8)] = token }
    var new: [AddedToken] = []
    for token in declaredTokens where !token.content.isEmpty {
      let content = Array(token.content.utf8)
      if let known = known[content] {
        if token.isExact, let (key, value) = token.flags.difference(from: known.flags) {
          throw fault(
            "\(token.key) says \(key) \(value) of \(token.content.inQuotes), and tokenizer.json \(!value); make them agree"
          )
        }
        continue
      }
      guard let id = tokens.firstIndex(where: { $0?.utf8.elementsEqual(content) ?? false }) else {
        throw fault(
          "\(token.key) \(token.content.inQuotes) is not in tokenizer.json, and a new token would have no weights; "
            + "take it out, or save the tokenizer again together with its model")
      }
      let addition = AddedToken(id: Int32(id), content: token.content, flags: token.flags)
      known[content] = addition
      new.append(addition)
    }
    return new
  }
}

extension TokenizerConfiguration {
  /// Of a new tokenizer.
  init(_ layout: TokenizerLayout) {
    self.init()
    (beginToken, endToken) = (layout.namedTokens.begin, layout.namedTokens.end)
    unknownToken = layout.namedTokens.unknown
  }

  /// The file for a new tokenizer: its names and chat template.
  static func newFile(_ layout: TokenizerLayout) -> [UInt8] {
    let added = layout.addedTokens.map { token in
      """
          "\(token.id)": {
            "content": \(JSON.quoted(token.content)),
            "lstrip": false,
            "normalized": false,
            "rstrip": false,
            "single_word": false,
            "special": \(token.flags.isSpecial)
          }
      """
    }
    let names = layout.namedTokens
    return Array(
      """
      {
        "add_bos_token": false,
        "add_eos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": {
      \(added.joined(separator: ",\n"))
        },
        "additional_special_tokens": [],
        "bos_token": \(JSON.quoted(names.begin)),
        "chat_template": \(JSON.quoted(layout.chatTemplate)),
        "clean_up_tokenization_spaces": false,
        "eos_token": \(JSON.quoted(names.end)),
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": \(names.padding.map { JSON.quoted($0) } ?? "null"),
        "spaces_between_special_tokens": false,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": \(JSON.quoted(names.unknown))
      }

      """.utf8)
  }
}
