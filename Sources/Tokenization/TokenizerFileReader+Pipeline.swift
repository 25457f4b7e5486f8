import Storage

/// The parts of `tokenizer.json` around the model: normalizer, pre-tokenizer, decoder, post-processor.
///
/// `truncation` and `padding` are of the last call before the file was saved. `transformers` sets both for each call, so they
/// are not part of the tokenizer, and are ignored.
extension TokenizerFileReader {
  /// GPT-2's split pattern, as `tokenizers` writes it where a `Split` precedes `ByteLevel`.
  private static let splitPattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// - Throws: `TokenizerError` for a part that would give other tokens or other text than byte-level BPE.
  func checkPipeline() throws(TokenizerError) {
    guard case .object = root else { throw fault("it is \(root.kind) where an object is expected") }
    if let version = root["version"], version != .string("1.0") { throw refused("version \(version.kind)") }
    for key in ["truncation", "padding"] {
      switch root[key] {
      case nil, .null, .object: break
      case .some(let value): throw fault("\(key) is \(value.kind), an object or null is expected")
      }
    }
    if let normalizer = try steps("normalizer", "normalizers").first {
      throw refused("normalizer \(named(normalizer))")
    }
    try checkPreTokenizer()
    // The flags of a ByteLevel decoder mean nothing to it.
    let decoder = try steps("decoder", "decoders")
    guard decoder.count == 1, decoder[0]["type"] == .string("ByteLevel") else { throw refused("decoder", decoder) }
  }

  private func checkPreTokenizer() throws(TokenizerError) {
    var steps = try steps("pre_tokenizer", "pretokenizers")
    var splitsBefore = false
    if steps.count == 2, steps[0]["type"] == .string("Split"),
      steps[0]["pattern"]?["Regex"] == .string(Self.splitPattern),
      steps[0]["behavior"] == .string("Isolated"), steps[0]["invert"] ?? .bool(false) == .bool(false)
    {
      splitsBefore = true
      steps.removeFirst()
    }
    guard steps.count == 1, steps[0]["type"] == .string("ByteLevel") else { throw refused("pre_tokenizer", steps) }
    guard steps[0]["add_prefix_space"] == .bool(false) else { throw refused("add_prefix_space in pre_tokenizer") }
    // With the split made already, ByteLevel's own finds nothing more to split.
    guard splitsBefore || steps[0]["use_regex"] ?? .bool(true) == .bool(true) else {
      throw refused("use_regex false in pre_tokenizer")
    }
  }

  /// The tokens that the post-processor adds to a text that is not one of a pair.
  ///
  /// - Throws: `TokenizerError` for a post-processor of another kind, and for several that add tokens: `tokenizers` gives the
  ///   second one the first one's tokens as texts of their own.
  func frame(vocabularySize: Int) throws(TokenizerError) -> TextFrame {
    var frame = TextFrame()
    for step in try steps("post_processor", "processors") {
      let added: TextFrame
      switch step["type"] {
      // Moves offsets only, never tokens.
      case .string("ByteLevel"): continue
      case .string("TemplateProcessing"): added = try templateFrame(step)
      case .string("BertProcessing"), .string("RobertaProcessing"):
        added = TextFrame(before: try [pairedID(step, "cls")], after: try [pairedID(step, "sep")])
      default: throw refused("post_processor \(named(step))")
      }
      if added.isEmpty { continue }
      guard frame.isEmpty else { throw refused("a post_processor of several steps that add tokens") }
      frame = added
    }
    if let id = (frame.before + frame.after).first(where: { $0 >= vocabularySize }) {
      throw fault("post_processor adds the token \(id), and there are \(vocabularySize) tokens")
    }
    return frame
  }

  private func templateFrame(_ template: JSON) throws(TokenizerError) -> TextFrame {
    guard case .array(let pieces)? = template["single"] else {
      throw fault("post_processor's single is \(template["single"]?.kind ?? "missing"), a list is expected")
    }
    var frame = TextFrame()
    var texts = 0
    for piece in pieces {
      if piece["Sequence"]?["id"] == .string("A") {
        texts += 1
      } else if case .string(let name)? = piece["SpecialToken"]?["id"] {
        guard case .array(let ids)? = template["special_tokens"]?[name]?["ids"] else {
          throw fault("post_processor's special_tokens has no ids for \(name.inQuotes)")
        }
        for id in ids {
          let id = try tokenID(id, of: name)
          if texts == 0 { frame.before.append(id) } else { frame.after.append(id) }
        }
      } else {
        throw fault("post_processor's single has an entry that is neither the text A nor a special token")
      }
    }
    guard texts == 1 else { throw refused("a post_processor with the text \(texts) times") }
    return frame
  }

  /// The id of `"sep": ["</s>", 2]`.
  private func pairedID(_ step: JSON, _ key: String) throws(TokenizerError) -> Int32 {
    guard case .array(let pair)? = step[key], pair.count == 2, case .string(let name) = pair[0] else {
      throw fault("post_processor's \(key) is \(step[key]?.kind ?? "missing"), a token and its id are expected")
    }
    return try tokenID(pair[1], of: name)
  }

  /// The steps of a part, those of a `Sequence` in order, however deep it is; none where the part is null.
  private func steps(_ key: String, _ listKey: String) throws(TokenizerError) -> [JSON] {
    var steps: [JSON] = []
    var waiting = [root[key] ?? .null]
    while let part = waiting.popLast() {
      if part == .null { continue }
      guard part["type"] == .string("Sequence") else {
        steps.append(part)
        continue
      }
      guard case .array(let parts)? = part[listKey] else {
        throw fault("the Sequence in \(key) has no list \(listKey.inQuotes)")
      }
      waiting.append(contentsOf: parts.reversed())
    }
    return steps
  }

  private func refused(_ key: String, _ steps: [JSON]) -> TokenizerError {
    refused("\(key) \(steps.isEmpty ? "(none)" : steps.map(named).joined(separator: " + "))")
  }
}
