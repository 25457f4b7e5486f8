import Storage

/// Reads `tokenizer.json`, of which byte-level BPE and SentencePiece's BPE are understood: anything else is refused by name.
struct TokenizerFileReader {
  private let path: String
  let root: JSON
  private let configuration: TokenizerConfiguration

  /// The most tokens and merges that a file may have: far above any real vocabulary, far below what would
  /// exhaust memory.
  private static let mostTokens = 1 << 24

  /// - Parameter configuration: what `tokenizer_config.json` says of the same tokens.
  init(_ bytes: UnsafeRawBufferPointer, path: String, configuration: TokenizerConfiguration) throws(TokenizerError) {
    self.path = path
    self.configuration = configuration
    root = try JSON(parsing: bytes, path: path)
  }

  func model() throws(TokenizerError) -> BytePairModel {
    guard case .object = root else { throw fault("it is \(root.kind) where an object is expected") }
    guard let model = root["model"] else { throw fault("there is no model") }
    try checkModelOptions(model)
    let pipeline = try pipeline()
    if !pipeline.isByteLevel, model["byte_fallback"] != .bool(true) {
      throw refused("a model whose tokens spell characters without byte_fallback")
    }
    var added = try addedTokens()
    let (tokens, onlyAdded) = try vocabulary(model, added: added, isByteLevel: pipeline.isByteLevel)
    added += try configuration.tokensToAdd(to: added, tokens: tokens)
    let merges = try merges(model, tokens: tokens)
    return BytePairModel(
      tokens: tokens, merges: merges, addedTokens: added, pipeline: pipeline, onlyAdded: onlyAdded,
      looksUpWords: model["ignore_merges"] == .bool(true))
  }

  func fault(_ reason: String) -> TokenizerError { TokenizerError("\(path): \(reason).") }

  func refused(_ what: String) -> TokenizerError {
    TokenizerError("\(path): \(what) is not supported. See docs/formats.md for what is.")
  }

  func named(_ part: JSON?) -> String { part?["type"]?.kind ?? part?.kind ?? "(none)" }

  private func checkModelOptions(_ model: JSON) throws(TokenizerError) {
    // Files of the first years have no type; their model is then recognised by its merges. Unigram and WordPiece have others.
    guard model["type"] ?? .string("BPE") == .string("BPE") else { throw refused("model \(named(model))") }
    if let dropout = model["dropout"], dropout != .null, dropout.doubleValue != 0 { throw refused("dropout") }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let value = model[key], value != .null, value != .string("") { throw refused("\(key) \(value.kind)") }
    }
    if let value = model["ignore_merges"], value.boolValue == nil {
      throw fault("ignore_merges is \(value.kind), true or false is expected")
    }
    // unk_token and fuse_unk change nothing, nor does byte_fallback to tokens that spell bytes: with all 256 bytes present
    // nothing is unknown.
  }

  // MARK: - Tokens

  private func addedTokens() throws(TokenizerError) -> [AddedToken] {
    guard let list = root["added_tokens"] else { return [] }
    guard case .array(let entries) = list else { throw fault("added_tokens is \(list.kind), a list is expected") }
    var tokens: [AddedToken] = []
    for entry in entries {
      guard case .string(let content)? = entry["content"], !content.isEmpty else {
        throw fault("an entry of added_tokens has no content")
      }
      let id = try tokenID(entry["id"], of: content)
      do {
        tokens.append(AddedToken(id: id, content: content, flags: try AddedToken.Flags(entry)))
      } catch {
        throw fault("\(error.key) of added token \(content.inQuotes) is neither true nor false")
      }
    }
    return tokens
  }

  func tokenID(_ value: JSON?, of token: String) throws(TokenizerError) -> Int32 {
    guard let number = value?.integerValue, let id = Int32(exactly: number), id >= 0 else {
      throw fault("token \(token.inQuotes) has no valid id, a whole number from 0 up")
    }
    return id
  }

  /// Tokens by id, the added ones included, nil where no token has the id; and the ids of those that are only added.
  private func vocabulary(
    _ model: JSON, added: [AddedToken], isByteLevel: Bool
  ) throws(TokenizerError) -> (tokens: [String?], onlyAdded: Set<Int32>) {
    guard case .object(let entries)? = model["vocab"] else {
      throw fault("model.vocab is \(model["vocab"]?.kind ?? "missing"), an object is expected")
    }
    guard entries.count + added.count <= Self.mostTokens else {
      throw fault("the vocabulary has more than \(Self.mostTokens) entries")
    }
    var byID: [Int32: String] = [:]
    byID.reserveCapacity(entries.count + added.count)
    var ids: [[UInt8]: Int32] = [:]
    ids.reserveCapacity(entries.count)
    for entry in entries {
      let id = try tokenID(entry.value, of: entry.key)
      if let other = byID.updateValue(entry.key, forKey: id) {
        throw fault("\(other.inQuotes) and \(entry.key.inQuotes) have the same id \(id)")
      }
      ids[Array(entry.key.utf8)] = id
    }
    var contents = Set<[UInt8]>()
    var onlyAdded = Set<Int32>()
    for token in added {
      let content = Array(token.content.utf8)
      guard contents.insert(content).inserted else {
        throw fault("added token \(token.content.inQuotes) occurs twice")
      }
      if let id = ids[content] {
        guard id == token.id else {
          throw fault("added token \(token.content.inQuotes) has id \(token.id), but \(id) in the vocabulary")
        }
      } else if let other = byID.updateValue(token.content, forKey: token.id) {
        throw fault("\(other.inQuotes) and added token \(token.content.inQuotes) have the same id \(token.id)")
      } else {
        // `tokenizers` numbers them itself, and a model has the weights that it then used.
        let expected = Int32(entries.count + onlyAdded.count)
        guard token.id == expected else {
          throw fault(
            "added token \(token.content.inQuotes) has id \(token.id), and tokenizers would give it \(expected)")
        }
        onlyAdded.insert(token.id)
      }
    }
    let largest = byID.keys.max() ?? 0
    guard largest < Self.mostTokens else { throw fault("a token has the id \(largest), above \(Self.mostTokens)") }
    var tokens = [String?](repeating: nil, count: Int(largest) + 1)
    for (id, token) in byID { tokens[Int(id)] = token }
    for byte in UInt8.min...UInt8.max {
      let hexadecimal = String(byte, radix: 16, uppercase: true)
      let spelling =
        isByteLevel
        ? ByteAlphabet.spelling(of: [byte])
        : "<0x" + String(repeating: "0", count: 2 - hexadecimal.count) + hexadecimal + ">"
      guard ids[Array(spelling.utf8)] != nil else {
        throw fault("the vocabulary has no token \(spelling.inQuotes) for the byte \(byte); all 256 are needed")
      }
    }
    return (tokens, onlyAdded)
  }

  // MARK: - Merges

  private func merges(_ model: JSON, tokens: [String?]) throws(TokenizerError) -> [BytePairModel.Merge] {
    guard case .array(let entries)? = model["merges"] else {
      throw fault("model.merges is \(model["merges"]?.kind ?? "missing"), a list is expected")
    }
    guard entries.count <= Self.mostTokens else { throw fault("there are more than \(Self.mostTokens) merges") }
    var ids: [[UInt8]: Int32] = [:]
    ids.reserveCapacity(tokens.count)
    for (id, token) in tokens.enumerated() { if let token { ids[Array(token.utf8)] = Int32(id) } }
    func id(_ token: [UInt8], merge: Int) throws(TokenizerError) -> Int32 {
      guard let id = ids[token] else {
        throw fault(
          "merge \(merge) needs the token \(String(decoding: token, as: UTF8.self).inQuotes), "
            + "which is not in the vocabulary")
      }
      return id
    }
    var merges: [BytePairModel.Merge] = []
    merges.reserveCapacity(entries.count)
    for (index, entry) in entries.enumerated() {
      guard let (left, right) = pair(entry) else {
        throw fault("merge \(index) is \(entry.kind), a pair of tokens is expected")
      }
      merges.append(
        BytePairModel.Merge(
          left: try id(left, merge: index), right: try id(right, merge: index),
          merged: try id(left + right, merge: index)))
    }
    return merges
  }

  /// `"a b"`, as files were written until 2024, or `["a", "b"]`.
  private func pair(_ entry: JSON) -> ([UInt8], [UInt8])? {
    switch entry {
    case .string(let text):
      let parts = text.utf8.split(separator: 0x20, omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
      return (Array(parts[0]), Array(parts[1]))
    case .array(let parts):
      guard parts.count == 2, case .string(let left) = parts[0], case .string(let right) = parts[1],
        !left.isEmpty, !right.isEmpty
      else { return nil }
      return (Array(left.utf8), Array(right.utf8))
    default: return nil
    }
  }
}
