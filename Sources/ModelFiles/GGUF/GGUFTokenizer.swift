import Tokenization

/// A tokenizer as GGUF metadata for llama.cpp: a byte-level BPE with the split pattern of GPT-2, Qwen 2 or Llama 3.
package struct GGUFTokenizer {
  /// `tokenizer.ggml.*` and `tokenizer.chat_template`.
  package let metadata: [(key: String, value: GGUFValue)]
  /// Whether the chat template is MiniMind's.
  package let hasMiniMindChat: Bool
  /// The texts of the tokens that end an answer.
  package let stops: [String]

  /// - Parameters:
  ///   - directory: where the tokenizer and its chat template are.
  ///   - vocabularySize: rows of the model's embedding; those without a token get one that is marked as unused.
  ///   - beginToken: nil for a model without one.
  ///   - endTokens: the tokens that end an answer.
  /// - Throws: `FileError` or `TokenizerError` when there is no tokenizer that this program reads;
  ///   `ModelFileError.contradiction` when it has more tokens than the model or tokens that the format cannot describe, or
  ///   more tokens end an answer than the format has names for.
  package init(directory: String, vocabularySize: Int, beginToken: Int?, endTokens: [Int]) throws {
    let tokenizer = try Tokenizer(directory: directory)
    guard tokenizer.vocabularySize <= vocabularySize else {
      throw ModelFileError.contradiction(
        "\(directory): the tokenizer has \(tokenizer.vocabularySize) tokens, the model \(vocabularySize). "
          + "Give the model's own with --tokenizer.")
    }
    if let token = tokenizer.tokenWithContext {
      throw ModelFileError.contradiction(
        "\(directory): the added token \(token) has single_word, lstrip or rstrip, for which GGUF has no place.")
    }
    let pre = try Self.splitName(tokenizer, directory)
    let endKeys = ["eos_token_id", "eot_token_id", "eom_token_id"]
    guard endTokens.count <= endKeys.count else {
      throw ModelFileError.contradiction(
        "\(endTokens.count) tokens end an answer of this model, and GGUF has names for \(endKeys.count) of them.")
    }
    var tokens: [String] = []
    var types: [Int32] = []
    for id in 0..<Int32(vocabularySize) {
      tokens.append(tokenizer.spelling(of: id) ?? "[PAD\(id)]")
      types.append(Self.type(of: id, in: tokenizer).rawValue)
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
    if let chatTemplate = try ChatTemplate.jinjaText(tokenizerDirectory: directory) {
      metadata.append(("tokenizer.chat_template", .string(chatTemplate)))
    }
    self.metadata = metadata
    hasMiniMindChat = (try? ChatTemplate(tokenizerDirectory: directory)).map { $0.jinja == nil } ?? false
    stops = endTokens.compactMap { tokenizer.spelling(of: Int32($0)) }
  }

  /// llama.cpp's name for how text is split. It looks words up where it splits as Llama 3 does, and only there.
  private static func splitName(_ tokenizer: Tokenizer, _ directory: String) throws(ModelFileError) -> String {
    let name: String
    switch tokenizer.split {
    case .gpt2?: name = "gpt-2"
    case .qwen2?: name = "qwen2"
    case .llama3?: name = "llama-bpe"
    case nil:
      throw ModelFileError.contradiction(
        "\(directory): GGUF files are written for tokenizers with the split pattern of GPT-2, Qwen 2 or Llama 3 alone, "
          + "and this one has another pattern, a normalizer, or tokens of characters. Convert to a directory.")
    }
    guard tokenizer.looksUpWords == (tokenizer.split == .llama3) || tokenizer.mergesMakeAllTokens else {
      throw ModelFileError.contradiction(
        "\(directory): its ignore_merges is \(tokenizer.looksUpWords), and llama.cpp would take it for the contrary with "
          + "this split pattern. Convert to a directory.")
    }
    return name
  }

  /// `llama_token_type` in llama.h.
  private enum TokenType: Int32 {
    case normal = 1
    case control = 3
    case userDefined = 4
    case unused = 5
  }

  private static func type(of id: Int32, in tokenizer: Tokenizer) -> TokenType {
    if tokenizer.spelling(of: id) == nil { return .unused }
    if tokenizer.isSpecial(id) { return .control }
    return tokenizer.isAdded(id) ? .userDefined : .normal
  }
}
