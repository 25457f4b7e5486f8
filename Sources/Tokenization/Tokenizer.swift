import Storage
import Templates

/// What to do with `<s>` and the like inside a text.
package enum SpecialTokenHandling: Sendable {
  /// They are control tokens, as in `tokenizers`.
  case parsed
  /// They are ordinary characters: for text that a user typed.
  case asText
  /// They are control tokens, and so are other added tokens, where no byte of them is in one of these ranges, which are in
  /// order and hold what users typed.
  case outside([Range<Int>])

  var areText: Bool { if case .asText = self { true } else { false } }
  var contents: [Range<Int>] { if case .outside(let ranges) = self { ranges } else { [] } }
}

/// A BPE tokenizer whose tokens spell bytes, or characters with bytes as a last resort, equal to Hugging Face's `tokenizers` token for token.
///
/// Text is bytes. Ill-formed UTF-8 is read as U+FFFD, one for each maximal ill-formed part, which is what
/// `tokenizers` sees after Python's `bytes.decode(errors="replace")`. Any number of
/// threads may encode at once.
package struct Tokenizer: Sendable {
  let model: BytePairModel
  private let frame: TextFrame
  /// The files that make it up, as read or as they will be written, by their name in the directory.
  let files: [(name: String, bytes: [UInt8])]

  /// nil for a tokenizer that names none; no text needs it, since each byte is a token.
  package let unknownToken: Int32?
  /// What begins a document; nil for a tokenizer whose configuration says that nothing does.
  package let beginToken: Int32?
  package let endToken: Int32
  /// SHA-256, in hexadecimal, of what decides the tokens of documents: data and models made with another tokenizer have
  /// another. It is that of `tokenizer.json` as this program writes it, so the same tokenizer has the same one when other
  /// programs have saved it in their way.
  package let contentHash: String

  /// - Parameter path: the file of the model, for messages.
  init(
    model: BytePairModel, frame: TextFrame, files: [(name: String, bytes: [UInt8])],
    configuration: TokenizerConfiguration, path: String = "tokenizer.json"
  ) throws(TokenizerError) {
    self.model = model
    self.frame = frame
    self.files = files
    func find(_ content: String) -> Int32? { model.addedTokens.first { $0.content == content }?.id }
    func id(_ content: String, _ key: String) throws(TokenizerError) -> Int32 {
      guard let id = find(content) else {
        throw TokenizerError(
          "\(path): there is no added token \(content.inQuotes), which is the \(key). "
            + "Check added_tokens, or \(key) in tokenizer_config.json.")
      }
      return id
    }
    unknownToken = find(configuration.unknownToken ?? "<unk>")
    beginToken = try configuration.beginToken.map { (token) throws(TokenizerError) in try id(token, "bos_token") }
    endToken = try id(configuration.endToken, "eos_token")
    var identity = model.fileBytes()
    if configuration.beginToken != "<s>" || configuration.endToken != "</s>" {
      identity += Array("\nbegin \(beginToken.map(String.init) ?? "none") end \(endToken)".utf8)
    }
    contentHash = identity.withUnsafeBytes { SHA256.hexadecimalDigest($0) }
  }

  /// Tokens are numbered from 0 up to here.
  package var vocabularySize: Int { model.vocabularySize }

  /// The tokens of `text`, and nothing around them: what `tokenizers` gives with `add_special_tokens=False`.
  ///
  /// - Parameter text: UTF-8.
  /// - Throws: `TokenizerError` for a text on which the tokenizer's split pattern would take for ever.
  package func encode(
    _ text: UnsafeRawBufferPointer, specialTokens: SpecialTokenHandling = .parsed
  ) throws(TokenizerError) -> [Int32] {
    try model.withEncoder { (encoder) throws(TokenizerError) in
      Array(try encoder.encode(text, specialTokens: specialTokens))
    }
  }

  /// The tokens of `text`, and nothing around them.
  package func encode(
    _ text: String, specialTokens: SpecialTokenHandling = .parsed
  ) throws(TokenizerError) -> [Int32] {
    var text = text
    let tokens = text.withUTF8 { bytes in
      Result { () throws(TokenizerError) in
        try encode(UnsafeRawBufferPointer(bytes), specialTokens: specialTokens)
      }
    }
    return try tokens.get()
  }

  /// Appends the tokens of `text`, UTF-8, to `tokens`, or nothing if it throws.
  package func encode(
    _ text: UnsafeRawBufferPointer, into tokens: inout [Int32], specialTokens: SpecialTokenHandling = .parsed
  ) throws(TokenizerError) {
    try model.withEncoder { (encoder) throws(TokenizerError) in
      tokens.append(contentsOf: try encoder.encode(text, specialTokens: specialTokens))
    }
  }

  /// The tokens of a rendered conversation, encoded as one text. Added tokens are found in the template's own text alone,
  /// so what a user typed never becomes one.
  ///
  /// - Throws: as `encode` of a text.
  package func encode(_ pieces: [RenderedText.Piece]) throws(TokenizerError) -> [Int32] {
    var contents: [Range<Int>] = []
    var text: [UInt8] = []
    for piece in pieces {
      let start = text.count
      text.append(contentsOf: piece.text.utf8)
      if piece.isContent { contents.append(start..<text.count) }
    }
    return try text.withUnsafeBufferPointer { (text) throws(TokenizerError) in
      try encode(UnsafeRawBufferPointer(text), specialTokens: .outside(contents))
    }
  }

  /// The tokens of `text` with those that the tokenizer's post-processor puts around a plain text: `tokenizer(text)` of
  /// `transformers`. Documents and conversations have frames of their own and are not encoded so.
  ///
  /// - Parameter text: UTF-8.
  package func encodeFramed(
    _ text: UnsafeRawBufferPointer, specialTokens: SpecialTokenHandling = .parsed
  ) throws(TokenizerError) -> [Int32] {
    frame.before + (try encode(text, specialTokens: specialTokens)) + frame.after
  }

  /// The begin token, or nothing where there is none.
  package var beginTokens: [Int32] { beginToken.map { [$0] } ?? [] }

  /// Whether the post-processor begins a plain text with the begin token, and ends it with the end token.
  package var framesText: (withBegin: Bool, withEnd: Bool) {
    (frame.before.first == beginToken, frame.after.last == endToken)
  }

  /// Whether tokens spell bytes, not characters.
  package var isByteLevel: Bool { model.isByteLevel }

  /// Whether text is not changed before it is split.
  package var isPlain: Bool { model.pipeline.normalizer.steps.isEmpty }

  /// Whether all that changes text before it is split is canonical composition (NFC).
  package var composesCharacters: Bool { model.pipeline.normalizer.steps == [.nfc] }

  /// The pattern that splits words, where it is one of those and text is not changed before; nil for any other pipeline.
  package var split: LearnedSplit? {
    let pipeline = model.pipeline
    guard isPlain, isByteLevel, pipeline.splits.count == 1 else { return nil }
    switch pipeline.splits[0] {
    case .gpt2: return .gpt2
    case .pattern(let pattern, .isolated, false):
      return LearnedSplit.allCases.first { pattern.source == $0.pattern && !pattern.isLiteral }
    default: return nil
    }
  }

  /// What changes text before it is split, as `tokenizers` writes the `normalizer`; null where nothing does.
  package var normalizer: JSON { model.pipeline.normalizer.json }

  /// How tokens become text, as `tokenizers` writes the `decoder`.
  package var decoder: JSON { model.pipeline.decoderJSON }

  /// How text is split, as `tokenizers` writes the `pre_tokenizer`.
  package var preTokenizer: JSON { model.pipeline.preTokenizerJSON }

  /// Whether a word that is a token is that token, whatever the merges make of it.
  package var looksUpWords: Bool { model.looksUpWords }

  /// Whether looking words up would change nothing, since the merges make each token of its bytes.
  package var mergesMakeAllTokens: Bool { model.mergesMakeAllTokens() }

  /// An added token that is found by more than its text: by the white space or the words around it.
  package var tokenWithContext: String? {
    model.addedTokens.first { $0.flags.isSingleWord || $0.flags.stripsLeft || $0.flags.stripsRight }?.content
  }

  /// The text of `ids`. Bytes that form no character become U+FFFD; ids outside the vocabulary are left out.
  package func decode(_ ids: some Sequence<Int32>, skippingSpecialTokens: Bool = false) -> String {
    guard model.isByteLevel else {
      var decoder = StreamingDecoder(self, skippingSpecialTokens: skippingSpecialTokens)
      var text = ""
      for id in ids { text += decoder.push(id) }
      return text + decoder.finish()
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(4 * ids.underestimatedCount)
    for id in ids {
      if skippingSpecialTokens && model.isSpecial(id) { continue }
      if let token = model.bytes(of: id) { bytes.append(contentsOf: token) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The bytes that a token stands for: often part of a character only. Empty for an id outside the vocabulary.
  package func bytes(of id: Int32) -> [UInt8] { model.bytes(of: id).map(Array.init) ?? [] }

  /// The token as `tokenizer.json` spells it.
  package func spelling(of id: Int32) -> String? {
    id >= 0 && id < model.vocabularySize ? model.tokens[Int(id)] : nil
  }

  /// Whether the token is one like `<s>`, which is not text.
  package func isSpecial(_ id: Int32) -> Bool { model.isSpecial(id) }

  /// Whether the token stands for a byte that no token of characters has, such as `<0x41>`.
  package func isByte(_ id: Int32) -> Bool {
    !isByteLevel && !isAdded(id) && spelling(of: id).flatMap { ByteAlphabet.byte(ofFallback: $0) } != nil
  }

  /// Whether the token is found in the text as a whole, before it is split and merged.
  package func isAdded(_ id: Int32) -> Bool { model.addedTokens.contains { $0.id == id } }

  /// The merges, best first, as `tokenizer.json` spells both sides.
  package var mergeSpellings: [(left: String, right: String)] {
    model.merges.map { (spelling(of: $0.left) ?? "", spelling(of: $0.right) ?? "") }
  }
}

extension StringProtocol {
  /// The text in quotation marks, shortened, for an error message.
  var inQuotes: String {
    let shown = prefix(40).map { $0 == "\n" ? "\\n" : String($0) }.joined()
    return "\"\(shown)\(count > 40 ? "…" : "")\""
  }
}
