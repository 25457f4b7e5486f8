import Tokenization

/// A tokenizer as GGUF metadata for llama.cpp: a byte-level BPE with a split pattern that it knows, or that of another GGUF
/// file as it is.
package struct GGUFTokenizer {
  /// `tokenizer.ggml.*` and `tokenizer.chat_template`.
  package let metadata: [(key: String, value: GGUFValue)]
  /// Whether the chat template is MiniMind's.
  package let hasMiniMindChat: Bool
  /// The texts of the tokens that end an answer.
  package let stops: [String]

  /// - Parameters:
  ///   - path: where the tokenizer and its chat template are: a directory, or a GGUF file.
  ///   - vocabularySize: rows of the model's embedding; those without a token get one that is marked as unused.
  ///   - beginToken: nil for a model without one.
  ///   - endTokens: the tokens that end an answer.
  /// - Throws: `FileError` or `TokenizerError` when there is no tokenizer that this program reads;
  ///   `ModelFileError.contradiction` when it has more tokens than the model or tokens that the format cannot describe, or
  ///   more tokens end an answer than the format has names for.
  package init(path: String, vocabularySize: Int, beginToken: Int?, endTokens: [Int]) throws {
    let files = try TokenizerFiles(path)
    let tokenizer = try Tokenizer(files)
    guard tokenizer.vocabularySize <= vocabularySize else {
      throw ModelFileError.contradiction(
        "\(path): the tokenizer has \(tokenizer.vocabularySize) tokens, the model \(vocabularySize). "
          + "Give the model's own with --tokenizer.")
    }
    hasMiniMindChat = (try? ChatTemplate(files)).map { $0.jinja == nil } ?? false
    stops = endTokens.compactMap { tokenizer.spelling(of: Int32($0)) }
    if let model = try ModelFormats.container(path) as? GGUFModel {
      metadata = model.tokenizerMetadata
      return
    }
    if let token = tokenizer.tokenWithContext {
      throw ModelFileError.contradiction(
        "\(path): the added token \(token) has single_word, lstrip or rstrip, for which GGUF has no place.")
    }
    let pre = try Self.splitName(tokenizer, path)
    let endKeys = ["eos_token_id", "eot_token_id", "eom_token_id"]
    guard endTokens.count <= endKeys.count else {
      throw ModelFileError.contradiction(
        "\(endTokens.count) tokens end an answer of this model, and GGUF has names for \(endKeys.count) of them.")
    }
    var tokens: [String] = []
    var types: [Int32] = []
    for id in 0..<Int32(vocabularySize) {
      tokens.append(tokenizer.spelling(of: id) ?? "[PAD\(id)]")
      types.append(Int32(Self.type(of: id, in: tokenizer).rawValue))
    }
    var metadata: [(key: String, value: GGUFValue)] = [
      ("model", .string("gpt2")), ("pre", .string(pre)), ("tokens", .strings(tokens)),
      ("token_type", .int32s(types)),
      ("merges", .strings(tokenizer.mergeSpellings.map { "\($0.left) \($0.right)" })),
      ("add_bos_token", .bool(tokenizer.framesText.withBegin)), ("add_eos_token", .bool(tokenizer.framesText.withEnd)),
    ]
    if let unknown = tokenizer.unknownToken { metadata.append(("unknown_token_id", .uint32(UInt32(unknown)))) }
    if let beginToken { metadata.append(("bos_token_id", .uint32(UInt32(beginToken)))) }
    for (key, token) in zip(endKeys, endTokens) { metadata.append((key, .uint32(UInt32(token)))) }
    metadata = metadata.map { ("tokenizer.ggml." + $0.key, $0.value) }
    // llama.cpp does not compose characters and has no place for it; the file itself says it to others.
    if tokenizer.composesCharacters, let text = try files.text("tokenizer.json") {
      metadata.append(("tokenizer.huggingface.json", .string(text)))
    }
    if let chatTemplate = try ChatTemplate.jinjaText(files) {
      metadata.append(("tokenizer.chat_template", .string(chatTemplate)))
    }
    self.metadata = metadata
  }

  /// llama.cpp's name for how text is split.
  private static func splitName(_ tokenizer: Tokenizer, _ path: String) throws(ModelFileError) -> String {
    guard tokenizer.isByteLevel, tokenizer.isPlain || tokenizer.composesCharacters else {
      throw .contradiction(
        "\(path): GGUF files are written for byte-level tokenizers without a normalizer other than NFC alone. "
          + "Convert to a directory.")
    }
    let splits = GGUFSplit.all.filter { $0.preTokenizer == tokenizer.preTokenizer }
    guard let first = splits.first else {
      throw .contradiction(
        "\(path): llama.cpp has no name for the split pattern of this tokenizer. Convert to a directory.")
    }
    // It looks words up with some of the names, and only there.
    let found =
      splits.first { $0.looksUpWords == tokenizer.looksUpWords } ?? (tokenizer.mergesMakeAllTokens ? first : nil)
    guard let found else {
      throw .contradiction(
        "\(path): its ignore_merges is \(tokenizer.looksUpWords), and llama.cpp would take it for the contrary with "
          + "this split pattern. Convert to a directory.")
    }
    return found.names[0]
  }

  private static func type(of id: Int32, in tokenizer: Tokenizer) -> GGUFVocabulary.TokenType {
    if tokenizer.spelling(of: id) == nil { return .unused }
    if tokenizer.isSpecial(id) { return .control }
    return tokenizer.isAdded(id) ? .userDefined : .normal
  }
}
