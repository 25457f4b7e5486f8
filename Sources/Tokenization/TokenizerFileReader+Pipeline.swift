import Storage

/// The parts of `tokenizer.json` around the model: normalizer, pre-tokenizer, decoder, post-processor.
///
/// `truncation` and `padding` are of the last call before the file was saved. `transformers` sets both for each call, so they
/// are not part of the tokenizer, and are ignored.
extension TokenizerFileReader {
  /// GPT-2's split pattern, as `tokenizers` writes it where a `Split` precedes `ByteLevel`.
  private static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// - Throws: `TokenizerError` for a part that this program does not have.
  func pipeline() throws(TokenizerError) -> TextPipeline {
    guard case .object = root else { throw fault("it is \(root.kind) where an object is expected") }
    if let version = root["version"], version != .string("1.0") { throw refused("version \(version.kind)") }
    for key in ["truncation", "padding"] {
      switch root[key] {
      case nil, .null, .object: break
      case .some(let value): throw fault("\(key) is \(value.kind), an object or null is expected")
      }
    }
    var pipeline = TextPipeline()
    pipeline.decoding = try decoding()
    pipeline.normalizer.steps = try normalizerSteps()
    var steps = try steps("pre_tokenizer", "pretokenizers")
    switch steps.last?["type"] {
    case .string("ByteLevel") where pipeline.isByteLevel:
      pipeline.splits = try splits(steps.dropLast(), byteLevel: steps.removeLast())
    case .string("Metaspace") where !pipeline.isByteLevel:
      pipeline.metaspace = try metaspace(steps.removeLast(), "pre_tokenizer")
      guard steps.isEmpty else {
        throw refused("pre_tokenizer", steps + [.object([.init("type", .string("Metaspace"))])])
      }
      pipeline.splits = []
    default:
      guard !pipeline.isByteLevel else { throw refused("pre_tokenizer", steps) }
      pipeline.splits = []
      for step in steps { pipeline.splits.append(try split(step)) }
    }
    return pipeline
  }

  // MARK: - Normalizer

  private func normalizerSteps() throws(TokenizerError) -> [TextNormalizer.Step] {
    var result: [TextNormalizer.Step] = []
    for step in try steps("normalizer", "normalizers") {
      switch step["type"] {
      case .string("NFC"): result.append(.nfc)
      case .string("Prepend"): result.append(.prepend(try text(step["prepend"], "prepend in normalizer")))
      case .string("Replace"):
        let replacement = try replacement(step, "normalizer")
        result.append(.replace(replacement.part, with: replacement.content))
      default: throw refused("normalizer \(named(step))")
      }
    }
    return result
  }

  private func text(_ value: JSON?, _ name: String) throws(TokenizerError) -> String {
    guard case .string(let text)? = value else {
      throw fault("\(name) is \(value?.kind ?? "missing"), a text is expected")
    }
    return text
  }

  private func replacement(
    _ step: JSON, _ key: String
  ) throws(TokenizerError) -> TokenDecoding.Characters.Replacement {
    guard case .string(let part)? = step["pattern"]?["String"], !part.isEmpty else {
      throw refused("Replace in \(key) with a pattern that is no text")
    }
    return .init(part: part, content: try text(step["content"], "content in \(key)"))
  }

  // MARK: - Pre-tokenizer

  private func splits(_ steps: [JSON], byteLevel: JSON) throws(TokenizerError) -> [SplitStep] {
    guard byteLevel["add_prefix_space"] == .bool(false) else { throw refused("add_prefix_space in pre_tokenizer") }
    var splits: [SplitStep] = []
    for step in steps { splits.append(try split(step)) }
    switch byteLevel["use_regex"] ?? .bool(true) {
    case .bool(true):
      // With that split made already, its own finds nothing more to split.
      if case .gpt2? = splits.last { break }
      splits.append(.gpt2)
    case .bool(false): break
    case let value: throw fault("use_regex in pre_tokenizer is \(value.kind), true or false is expected")
    }
    return splits
  }

  private func split(_ step: JSON) throws(TokenizerError) -> SplitStep {
    switch step["type"] {
    case .string("Split"):
      guard case .string(let name)? = step["behavior"], let behavior = SplitStep.Behavior(rawValue: name) else {
        throw refused("behavior \(step["behavior"]?.kind ?? "(none)") of Split in pre_tokenizer")
      }
      guard case .bool(let isInverted)? = step["invert"] else {
        throw fault("invert of Split in pre_tokenizer is neither true nor false")
      }
      let literal = step["pattern"]?["String"]
      let pattern = try text(literal ?? step["pattern"]?["Regex"], "the pattern of Split in pre_tokenizer")
      guard !pattern.isEmpty else { throw refused("an empty pattern of Split in pre_tokenizer") }
      if literal == nil, pattern == Self.gpt2Pattern, behavior == .isolated, !isInverted { return .gpt2 }
      do {
        return .pattern(try SplitPattern(pattern, isLiteral: literal != nil), behavior, isInverted: isInverted)
      } catch {
        throw refused("\(error.part.inQuotes) in the pattern \(pattern.inQuotes) of Split in pre_tokenizer")
      }
    case .string("Digits"):
      guard case .bool(let areSingle)? = step["individual_digits"] else {
        throw fault("individual_digits in pre_tokenizer is neither true nor false")
      }
      return .digits(areSingle: areSingle)
    default: throw refused("pre_tokenizer \(named(step))")
    }
  }

  private func metaspace(_ step: JSON, _ key: String) throws(TokenizerError) -> Metaspace {
    let replacement = try text(step["replacement"], "replacement in \(key)")
    guard replacement == "\u{2581}" else { throw refused("replacement \(replacement.inQuotes) in \(key)") }
    guard let scheme = Metaspace.Scheme(rawValue: step["prepend_scheme"]?.stringValue ?? "always"),
      step["add_prefix_space"] == nil || step["add_prefix_space"] == .bool(scheme != .never)
    else { throw refused("prepend_scheme \(step["prepend_scheme"]?.kind ?? "(none)") in \(key)") }
    guard case .bool(let splits) = step["split"] ?? .bool(true) else {
      throw fault("split in \(key) is neither true nor false")
    }
    return Metaspace(replacement: replacement, scheme: scheme, splits: splits)
  }

  // MARK: - Decoder

  private func decoding() throws(TokenizerError) -> TokenDecoding {
    let steps = try steps("decoder", "decoders")
    // The flags of a ByteLevel decoder mean nothing to it.
    if steps.count == 1, steps[0]["type"] == .string("ByteLevel") { return .byteLevel }
    var decoding = TokenDecoding.Characters()
    for step in steps {
      let isBegun = decoding.readsBytes || decoding.isFused || decoding.metaspace != nil
      switch step["type"] {
      case .string("Replace") where !isBegun: decoding.replacements.append(try replacement(step, "decoder"))
      case .string("ByteFallback") where !isBegun: decoding.readsBytes = true
      case .string("Metaspace") where steps.count == 1: decoding.metaspace = try metaspace(step, "decoder")
      case .string("Fuse") where !decoding.isFused: decoding.isFused = true
      case .string("Strip") where decoding.isFused && decoding.strip == nil:
        guard let content = step["content"]?.stringValue?.unicodeScalars, content.count == 1,
          let start = step["start"]?.integerValue, start >= 0, step["stop"] == .integer(0)
        else { throw refused("Strip in decoder with other than one character at the start") }
        decoding.strip = (content.first ?? " ", start)
      default: throw refused("decoder", steps)
      }
    }
    guard !steps.isEmpty else { throw refused("decoder", steps) }
    return .characters(decoding)
  }

  // MARK: - Post-processor

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
