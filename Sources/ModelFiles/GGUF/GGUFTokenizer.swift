import Model
import Storage
import Tokenization

/// A tokenizer as GGUF metadata for llama.cpp: a byte-level BPE with a split pattern that it knows, SentencePiece's BPE, or that
/// of another GGUF file as it is.
package struct GGUFTokenizer {
  /// `tokenizer.ggml.*` and `tokenizer.chat_template`.
  package let metadata: [(key: String, value: GGUFValue)]
  /// Whether the chat template is MiniMind's.
  package let hasMiniMindChat: Bool
  /// The texts of the tokens that end an answer.
  package let stops: [String]

  /// The tokenizer in a directory or a GGUF file.
  ///
  /// - Throws: `FileError` or `TokenizerError` when there is no tokenizer that this program reads; what the other initializer
  ///   throws.
  package init(path: String, of configuration: ModelConfiguration) throws {
    try self.init(Tokenizer(TokenizerFiles(path)), at: path, of: configuration)
  }

  /// - Parameters:
  ///   - path: where the tokenizer and its chat template are: a directory, or a GGUF file.
  ///   - configuration: of the model. Rows of its embedding without a token get one that is marked as unused.
  /// - Throws: `FileError` or `TokenizerError` when the files cannot be read; `ModelFileError.contradiction` when it has more
  ///   tokens than the model or tokens that the format cannot describe, or more tokens end an answer than the format has
  ///   names for.
  package init(_ tokenizer: Tokenizer, at path: String, of configuration: ModelConfiguration) throws {
    let (vocabularySize, endTokens) = (configuration.vocabularySize, configuration.endTokenIDs)
    let files = try TokenizerFiles(path)
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
    let endKeys = ["eos_token_id", "eot_token_id", "eom_token_id"]
    guard endTokens.count <= endKeys.count else {
      throw ModelFileError.contradiction(
        "\(endTokens.count) tokens end an answer of this model, and GGUF has names for \(endKeys.count) of them.")
    }
    let vocabulary = GGUFVocabulary(of: tokenizer, count: vocabularySize)
    var metadata: [(key: String, value: GGUFValue)] = [
      ("tokens", .strings(vocabulary.tokens)),
      ("token_type", .int32s(vocabulary.tokens.indices.map { Int32(vocabulary.type(of: $0).rawValue) })),
      ("add_bos_token", .bool(tokenizer.framesText.withBegin)), ("add_eos_token", .bool(tokenizer.framesText.withEnd)),
    ]
    metadata +=
      tokenizer.isByteLevel
      ? [
        ("model", .string(GGUFSpecialTokens.Model.byteLevel.rawValue)),
        ("pre", .string(try Self.splitName(tokenizer, path))),
        ("merges", .strings(tokenizer.mergeSpellings.map { "\($0.left) \($0.right)" })),
      ]
      : [
        ("model", .string(GGUFSpecialTokens.Model.sentencePiece.rawValue)), ("pre", .string("default")),
        ("scores", .float32s(try Self.scores(tokenizer, vocabulary, path))),
        ("add_space_prefix", .bool(try Self.addsSpace(tokenizer, path))),
      ]
    if let unknown = tokenizer.unknownToken { metadata.append(("unknown_token_id", .uint32(UInt32(unknown)))) }
    if let beginToken = configuration.beginTokenID { metadata.append(("bos_token_id", .uint32(UInt32(beginToken)))) }
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
    guard tokenizer.isPlain || tokenizer.composesCharacters else {
      throw .contradiction(
        "\(path): of byte-level tokenizers those without a normalizer, and those with NFC alone, have a place in GGUF. "
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

  // MARK: - SentencePiece

  /// Whether a space precedes a text.
  private static func addsSpace(_ tokenizer: Tokenizer, _ path: String) throws(ModelFileError) -> Bool {
    for addsSpace in [true, false]
    where tokenizer.preTokenizer == .null && tokenizer.normalizer == GGUFTokenizerFiles.normalizer(addsSpace: addsSpace)
      && tokenizer.decoder == GGUFTokenizerFiles.decoder(addsSpace: addsSpace)
    {
      return addsSpace
    }
    throw .contradiction(
      "\(path): llama.cpp makes every space a \u{2581}, with or without one before a text and after each special token. "
        + "This tokenizer does it in another way (normalizer, pre_tokenizer or decoder in tokenizer.json). "
        + "Convert to a directory.")
  }

  /// Scores by which the merges of SentencePiece are those of the tokenizer, in the same order: [tokens]. Only their order
  /// counts.
  private static func scores(
    _ tokenizer: Tokenizer, _ vocabulary: GGUFVocabulary, _ path: String
  ) throws(ModelFileError) -> [Float] {
    let merges = tokenizer.mergeSpellings
    // Texts that are equal to Swift's strings may differ in their bytes.
    var ranks: [[UInt8]: Int] = [:]
    for (rank, merge) in merges.enumerated() {
      let whole = Array(merge.left.utf8) + Array(merge.right.utf8)
      if ranks[whole] == nil { ranks[whole] = rank }
    }
    let scores = vocabulary.tokens.map { ranks[Array($0.utf8)].map { Double(-1 - $0) } ?? 0 }
    let made = try vocabulary.merges(byScore: scores, path: path)
    guard !tokenizer.looksUpWords,
      made.elementsEqual(
        merges, by: { $0.left.utf8.elementsEqual($1.left.utf8) && $0.right.utf8.elementsEqual($1.right.utf8) })
    else {
      throw .contradiction(
        "\(path): llama.cpp merges whatever makes a token, and the merges of this tokenizer are others. "
          + "Convert to a directory.")
    }
    return scores.map(Float.init)
  }
}
