/// What the metadata of a GGUF file say of tokens that are no text, and of how text is framed.
struct GGUFSpecialTokens: Sendable {
  /// How text becomes tokens: `tokenizer.ggml.model`; nil for a file without a tokenizer.
  let model: Model?
  /// How many tokens there are.
  let count: Int
  let begin: Int?
  /// Those that end an answer; the first one ends a text.
  let ends: [Int]
  let unknown: Int?
  let padding: Int?

  /// The kinds that are read.
  enum Model: String, CaseIterable {
    /// SentencePiece's BPE, with scores in place of merges.
    case sentencePiece = "llama"
    /// Byte-level BPE.
    case byteLevel = "gpt2"
  }

  /// Ends of an answer in chat templates, which old files do not name: llama.cpp looks for them by their texts, too.
  private static let turnEnds: Set = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|eom_id|>"]

  /// - Throws: `ModelFileError` for a tokenizer of another kind, and for a token that there is not.
  init(_ metadata: GGUFMetadata) throws(ModelFileError) {
    let prefix = "tokenizer.ggml."
    let name = try metadata.text(prefix + "model") ?? "none"
    guard name != "none", name != "no_vocab", case .array(let tokens)? = metadata[prefix + "tokens"] else {
      (model, count, begin, ends, unknown, padding) = (nil, 0, nil, [], nil, nil)
      return
    }
    guard let model = Model(rawValue: name) else {
      throw .unsupported(
        path: metadata.path,
        feature: "a tokenizer of the kind '\(name.prefix(60))' is not supported; "
          + Model.allCases.map(\.rawValue).joined(separator: " and ") + " are")
    }
    self.model = model
    count = tokens.count
    func id(_ key: String, default fallback: Int? = nil) throws(ModelFileError) -> Int? {
      let key = prefix + key + "_token_id"
      guard metadata[key] != nil else { return fallback.flatMap { $0 < tokens.count ? $0 : nil } }
      let id = try metadata.integer(key)
      guard id >= 0, id < tokens.count else {
        throw .contradiction("\(metadata.path): '\(key)' is \(id), and there are \(tokens.count) tokens.")
      }
      return id
    }
    // SentencePiece's own numbers, where the file does not say.
    let hasDefaults = model == .sentencePiece
    begin = try id("bos", default: hasDefaults ? 1 : nil)
    unknown = try id("unknown", default: hasDefaults ? 0 : nil)
    padding = try id("padding")
    guard let end = try id("eos", default: hasDefaults ? 2 : nil) else {
      throw .unsupported(
        path: metadata.path, feature: "it does not say which token ends a text (\(prefix)eos_token_id)")
    }
    var ends = [end]
    for other in [try id("eot"), try id("eom")] { if let other, !ends.contains(other) { ends.append(other) } }
    if metadata[prefix + "eot_token_id"] == nil, let texts = tokens.texts() {
      ends += texts.indices.filter { Self.turnEnds.contains(texts[$0]) && !ends.contains($0) }
    }
    self.ends = ends
  }
}
