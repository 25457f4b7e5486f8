import Tokenization

/// The tokens of a GGUF file with their kinds.
struct GGUFVocabulary {
  /// `llama_token_type` in llama.h.
  enum TokenType: Int {
    case normal = 1
    case unknown = 2
    case control = 3
    case userDefined = 4
    /// A row of the embedding that no text becomes.
    case unused = 5
    case byte = 6
  }

  /// By id.
  let tokens: [String]
  /// By id; nil for a file without.
  private let types: [TokenType]?

  /// - Throws: `ModelFileError` when a list has another length, or a kind is not known.
  init(_ metadata: GGUFMetadata, _ special: GGUFSpecialTokens) throws(ModelFileError) {
    tokens = try metadata.texts("tokenizer.ggml.tokens") ?? []
    let key = "tokenizer.ggml.token_type"
    try Self.check(metadata, key, count: tokens.count)
    var types: [TokenType]?
    if let numbers = try metadata.integers(key) {
      types = []
      for (id, number) in numbers.enumerated() {
        // 0 is "undefined"; such a token is text.
        guard let type = TokenType(rawValue: max(1, number)) else {
          throw .unsupported(
            path: metadata.path, feature: "'\(key)' of the token \(id) is \(number), which is not known")
        }
        types?.append(type)
      }
    }
    self.types = types
  }

  /// - Parameter count: how many rows the embedding has, at least the tokenizer's tokens.
  init(of tokenizer: Tokenizer, count: Int) {
    tokens = (0..<count).map { tokenizer.spelling(of: Int32($0)) ?? "[PAD\($0)]" }
    types = (0..<Int32(count)).map { id in
      if tokenizer.spelling(of: id) == nil { return .unused }
      if !tokenizer.isByteLevel {
        if id == tokenizer.unknownToken { return .unknown }
        if tokenizer.isByte(id) { return .byte }
      }
      if tokenizer.isSpecial(id) { return .control }
      return tokenizer.isAdded(id) ? .userDefined : .normal
    }
  }

  /// Before a list is read, which may be longer than any real one.
  private static func check(_ metadata: GGUFMetadata, _ key: String, count: Int) throws(ModelFileError) {
    guard case .array(let list)? = metadata[key], list.count != count else { return }
    throw .contradiction("\(metadata.path): '\(key)' has \(list.count) entries, and there are \(count) tokens.")
  }

  /// A token without a text is not used either.
  func type(of id: Int) -> TokenType { tokens[id].isEmpty ? .unused : types?[id] ?? .normal }

  /// The ids of tokens that are found in a text as a whole, and whether they are no text.
  var added: [(id: Int, isSpecial: Bool)] {
    tokens.indices.compactMap { id in
      switch type(of: id) {
      case .control, .unknown: (id, true)
      case .userDefined: (id, false)
      case .normal, .unused, .byte: nil
      }
    }
  }

  /// The ids of all tokens but those that are not used.
  var entries: [Int] { tokens.indices.filter { type(of: $0) != .unused } }

  /// [tokens].
  ///
  /// - Throws: `ModelFileError` when there are none, or not one for each token.
  func scores(_ metadata: GGUFMetadata) throws(ModelFileError) -> [Double] {
    let key = "tokenizer.ggml.scores"
    try Self.check(metadata, key, count: tokens.count)
    guard let scores = try metadata.numbers(key) else {
      throw .malformed(path: metadata.path, fault: "its metadata have no '\(key)'")
    }
    return scores
  }

  /// The merges that SentencePiece makes by the scores of tokens, best first: of each token the ways to put it together of
  /// two others, in the order of the scores of the whole, then of the lengths of the parts. As `transformers` makes them.
  ///
  /// - Parameters:
  ///   - scores: [tokens].
  ///   - path: what a message begins with.
  /// - Throws: `ModelFileError` when a token is too long.
  func merges(byScore scores: [Double], path: String) throws(ModelFileError) -> [(left: String, right: String)] {
    // Texts that are equal to Swift's strings may differ in their bytes.
    var ids: [ArraySlice<UInt8>: Int] = [:]
    for (id, token) in tokens.enumerated() where type(of: id) == .normal { ids[ArraySlice(token.utf8)] = id }
    var merges: [(score: Double, lengths: (Int, Int), left: Int, right: Int)] = []
    for (id, token) in tokens.enumerated() where type(of: id) == .normal {
      let bytes = Array(token.utf8)
      guard bytes.count <= Self.mostTokenBytes else {
        throw .unsupported(
          path: path, feature: "the token \(id) has \(bytes.count) bytes, too many for a token")
      }
      var ways: [(left: Int, right: Int, length: Int)] = []
      var length = 0
      for cut in bytes.indices.dropFirst() where bytes[cut] & 0xC0 != 0x80 {
        length += 1
        if let left = ids[bytes[..<cut]], let right = ids[bytes[cut...]] { ways.append((left, right, length)) }
      }
      let count = length + 1
      merges += ways.sorted { ($0.left, $0.right) < ($1.left, $1.right) }.map {
        (scores[id], ($0.length, count - $0.length), $0.left, $0.right)
      }
    }
    return merges.enumerated().sorted { first, second in
      let (a, b) = (first.element, second.element)
      return (a.score, a.lengths.0, a.lengths.1, second.offset) > (b.score, b.lengths.0, b.lengths.1, first.offset)
    }.map { (tokens[$0.element.left], tokens[$0.element.right]) }
  }

  /// Of SentencePiece's tokens: far above any real one.
  private static let mostTokenBytes = 256
}
