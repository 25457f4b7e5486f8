import Storage
import Tokenization

/// The tokenizer of a GGUF file as the files of a Hugging Face directory that say the same.
enum GGUFTokenizerFiles {
  static func files(of metadata: GGUFMetadata, _ special: GGUFSpecialTokens) -> TokenizerFiles {
    let names = special.model == nil ? [] : ["tokenizer.json", "tokenizer_config.json"]
    return TokenizerFiles(of: metadata.path, names: names) { name in
      let vocabulary = try GGUFVocabulary(metadata, special)
      return name == "tokenizer.json"
        ? try tokenizer(metadata, special, vocabulary)
        : Array((try configuration(metadata, special, vocabulary).text() + "\n").utf8)
    }
  }

  // MARK: - tokenizer.json

  private static func tokenizer(
    _ metadata: GGUFMetadata, _ special: GGUFSpecialTokens, _ vocabulary: GGUFVocabulary
  ) throws -> [UInt8] {
    // The file itself, where its writer has kept it.
    if let original = try metadata.text("tokenizer.huggingface.json") { return Array(original.utf8) }
    let parts: (normalizer: JSON, preTokenizer: JSON, decoder: JSON, merges: [JSON], looksUpWords: Bool, begins: Bool)
    if special.model == .sentencePiece {
      let addsSpace = try metadata.boolean("tokenizer.ggml.add_space_prefix", default: true)
      let merges = try vocabulary.merges(byScore: vocabulary.scores(metadata), path: metadata.path).map {
        JSON.array([.string($0.left), .string($0.right)])
      }
      parts = (normalizer(addsSpace: addsSpace), .null, decoder(addsSpace: addsSpace), merges, false, true)
    } else {
      let name = try metadata.text("tokenizer.ggml.pre") ?? ""
      guard let split = GGUFSplit.named(name) else {
        throw ModelFileError.unsupported(
          path: metadata.path,
          feature: "a tokenizer that splits text as '\(name.prefix(60))' is not supported; these are: "
            + GGUFSplit.all.flatMap(\.names).filter { !$0.isEmpty }.joined(separator: ", "))
      }
      guard let merges = try metadata.texts("tokenizer.ggml.merges") else {
        throw ModelFileError.malformed(path: metadata.path, fault: "its metadata have no 'tokenizer.ggml.merges'")
      }
      parts = (
        .null, split.preTokenizer, byteLevelDecoder, merges.map(JSON.string), split.looksUpWords, split.addsBegin
      )
    }
    let begins = try metadata.boolean("tokenizer.ggml.add_bos_token", default: parts.begins)
    let ends = try metadata.boolean("tokenizer.ggml.add_eos_token", default: false)
    let frame = postProcessor(
      begin: begins ? special.begin.map { ($0, vocabulary.tokens[$0]) } : nil,
      end: ends ? special.ends.first.map { ($0, vocabulary.tokens[$0]) } : nil)
    let added = vocabulary.added.map { id, isSpecial in
      JSON.object([
        .init("id", .integer(id)), .init("content", .string(vocabulary.tokens[id])), .init("single_word", .bool(false)),
        .init("lstrip", .bool(false)), .init("rstrip", .bool(false)), .init("normalized", .bool(false)),
        .init("special", .bool(isSpecial)),
      ])
    }
    let model = JSON.object([
      .init("type", .string("BPE")), .init("dropout", .null),
      .init("unk_token", special.unknown.map { .string(vocabulary.tokens[$0]) } ?? .null),
      .init("continuing_subword_prefix", .null), .init("end_of_word_suffix", .null),
      .init("fuse_unk", .bool(special.model == .sentencePiece)),
      .init("byte_fallback", .bool(special.model == .sentencePiece)), .init("ignore_merges", .bool(parts.looksUpWords)),
      .init("vocab", .object(vocabulary.entries.map { .init(vocabulary.tokens[$0], .integer($0)) })),
      .init("merges", .array(parts.merges)),
    ])
    let file = JSON.object([
      .init("version", .string("1.0")), .init("truncation", .null), .init("padding", .null),
      .init("added_tokens", .array(added)), .init("normalizer", parts.normalizer),
      .init("pre_tokenizer", parts.preTokenizer), .init("post_processor", frame), .init("decoder", parts.decoder),
      .init("model", model),
    ])
    return Array((file.text() + "\n").utf8)
  }

  private static func replacing(_ part: String, _ content: String) -> JSON {
    .object([
      .init("type", .string("Replace")), .init("pattern", .object([.init("String", .string(part))])),
      .init("content", .string(content)),
    ])
  }

  /// SentencePiece's mark for a space.
  private static let mark = "\u{2581}"

  static func normalizer(addsSpace: Bool) -> JSON {
    guard addsSpace else { return replacing(" ", mark) }
    return .object([
      .init("type", .string("Sequence")),
      .init(
        "normalizers",
        .array([
          .object([.init("type", .string("Prepend")), .init("prepend", .string(mark))]), replacing(" ", mark),
        ])),
    ])
  }

  static func decoder(addsSpace: Bool) -> JSON {
    var steps = [
      replacing(mark, " "), .object([.init("type", .string("ByteFallback"))]),
      .object([.init("type", .string("Fuse"))]),
    ]
    if addsSpace {
      steps.append(
        .object([
          .init("type", .string("Strip")), .init("content", .string(" ")), .init("start", .integer(1)),
          .init("stop", .integer(0)),
        ]))
    }
    return .object([.init("type", .string("Sequence")), .init("decoders", .array(steps))])
  }

  private static let byteLevelDecoder = JSON.object([
    .init("type", .string("ByteLevel")), .init("add_prefix_space", .bool(true)), .init("trim_offsets", .bool(true)),
    .init("use_regex", .bool(true)),
  ])

  /// What puts the begin and the end token around a text; null where neither is.
  private static func postProcessor(begin: (id: Int, text: String)?, end: (id: Int, text: String)?) -> JSON {
    let tokens = [begin, end].compactMap(\.self)
    guard !tokens.isEmpty else { return .null }
    func piece(_ kind: String, _ name: String, _ sequence: Int) -> JSON {
      .object([.init(kind, .object([.init("id", .string(name)), .init("type_id", .integer(sequence))]))])
    }
    func text(_ name: String, _ sequence: Int) -> [JSON] {
      [begin.map { piece("SpecialToken", $0.text, sequence) }, piece("Sequence", name, sequence)].compactMap(\.self)
        + [end.map { piece("SpecialToken", $0.text, sequence) }].compactMap(\.self)
    }
    var special: [JSON.Member] = []
    for token in tokens where !special.contains(where: { $0.key == token.text }) {
      special.append(
        .init(
          token.text,
          .object([
            .init("id", .string(token.text)), .init("ids", .array([.integer(token.id)])),
            .init("tokens", .array([.string(token.text)])),
          ])))
    }
    return .object([
      .init("type", .string("TemplateProcessing")), .init("single", .array(text("A", 0))),
      .init("pair", .array(text("A", 0) + text("B", 1))), .init("special_tokens", .object(special)),
    ])
  }

  // MARK: - tokenizer_config.json

  private static func configuration(
    _ metadata: GGUFMetadata, _ special: GGUFSpecialTokens, _ vocabulary: GGUFVocabulary
  ) throws -> JSON {
    func name(_ id: Int?) -> JSON { id.map { .string(vocabulary.tokens[$0]) } ?? .null }
    var members: [JSON.Member] = [
      .init("bos_token", name(special.begin)), .init("clean_up_tokenization_spaces", .bool(false)),
      .init("eos_token", name(special.ends.first)), .init("pad_token", name(special.padding)),
      .init("tokenizer_class", .string("PreTrainedTokenizerFast")), .init("unk_token", name(special.unknown)),
    ]
    let key = "tokenizer.chat_template"
    var templates: [(name: String, text: String)] = []
    if let text = try metadata.text(key) { templates.append(("default", text)) }
    for name in try metadata.texts("tokenizer.chat_templates") ?? [] {
      guard name != "default", let text = try metadata.text("\(key).\(name)") else { continue }
      templates.append((name, text))
    }
    if templates.count == 1, templates[0].name == "default" {
      members.append(.init("chat_template", .string(templates[0].text)))
    } else if !templates.isEmpty {
      members.append(
        .init(
          "chat_template",
          .array(
            templates.map { .object([.init("name", .string($0.name)), .init("template", .string($0.text))]) })))
    }
    return .object(members)
  }
}
