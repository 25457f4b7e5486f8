import Storage

/// How tokens become text: the `decoder` of `tokenizer.json`.
enum TokenDecoding: Sendable, Equatable {
  /// Tokens spell bytes in GPT-2's alphabet.
  case byteLevel
  /// Tokens spell characters.
  case characters(Characters)

  struct Characters: Sendable, Equatable {
    struct Replacement: Sendable, Equatable {
      var part: String
      var content: String
    }

    /// Made in each token.
    var replacements: [Replacement] = []
    /// Whether `<0x41>` is a byte.
    var readsBytes = false
    /// Whether tokens become one text before `strip`, which changes nothing but how the file is written.
    var isFused = false
    /// What is removed from the beginning of the text, and how often at most.
    var strip: (content: Unicode.Scalar, count: Int)?
    /// In place of all these: marks become spaces, and vanish from the first token.
    var metaspace: Metaspace?

    static func == (left: Self, right: Self) -> Bool { left.json == right.json }
  }
}

extension TokenDecoding.Characters {
  /// The text of a token that is no byte.
  ///
  /// - Parameter isFirst: whether no token was decoded before it.
  func text(of token: String, isFirst: Bool = false) -> [UInt8] {
    var bytes = Array(token.utf8)
    func replace(_ part: String, _ content: String) {
      let changed = bytes.withUnsafeBufferPointer {
        TextNormalizer.replacing(Array(part.utf8), with: Array(content.utf8), in: $0)
      }
      if let changed { bytes = changed }
    }
    for replacement in replacements { replace(replacement.part, replacement.content) }
    if let metaspace { replace(metaspace.replacement, isFirst && metaspace.scheme != .never ? "" : " ") }
    return bytes
  }

  /// The byte that a token stands for.
  func byte(of token: String) -> UInt8? {
    readsBytes ? ByteAlphabet.byte(ofFallback: token, anyCase: true) : nil
  }

  var json: JSON {
    var steps = replacements.map { replacement in
      JSON.object([
        .init("type", .string("Replace")), .init("pattern", .object([.init("String", .string(replacement.part))])),
        .init("content", .string(replacement.content)),
      ])
    }
    if readsBytes { steps.append(.object([.init("type", .string("ByteFallback"))])) }
    if let metaspace { steps.append(metaspace.json) }
    if isFused { steps.append(.object([.init("type", .string("Fuse"))])) }
    if let strip {
      steps.append(
        .object([
          .init("type", .string("Strip")), .init("content", .string(String(strip.content))),
          .init("start", .integer(strip.count)), .init("stop", .integer(0)),
        ]))
    }
    return steps.count == 1
      ? steps[0] : .object([.init("type", .string("Sequence")), .init("decoders", .array(steps))])
  }
}
