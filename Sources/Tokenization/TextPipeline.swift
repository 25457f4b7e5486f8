import Storage

/// What a tokenizer does with a text before and after its merges: the parts of `tokenizer.json` around the model.
struct TextPipeline: Sendable {
  var normalizer = TextNormalizer()
  /// For tokens that spell bytes. Where tokens spell characters these steps come first, and `metaspace` last.
  var splits: [SplitStep] = [.gpt2]
  var metaspace: Metaspace?
  var decoding = TokenDecoding.byteLevel

  /// GPT-2's, the pipeline of the tokenizers that this program makes by default.
  static let gpt2 = TextPipeline()

  var isGPT2: Bool {
    guard normalizer.steps.isEmpty, metaspace == nil, isByteLevel, splits.count == 1, case .gpt2 = splits[0] else {
      return false
    }
    return true
  }

  var isByteLevel: Bool { decoding == .byteLevel }

  /// As `tokenizers` writes it; `ByteLevel` makes GPT-2's split where it comes last.
  var preTokenizerJSON: JSON {
    var steps = splits
    var splitsLast = false
    if case .gpt2? = steps.last {
      splitsLast = true
      steps.removeLast()
    }
    var parts = steps.map { $0.json ?? Self.byteLevel(usesPattern: true) }
    if isByteLevel { parts.append(Self.byteLevel(usesPattern: splitsLast)) }
    if let metaspace { parts.append(metaspace.json) }
    return switch parts.count {
    case 0: .null
    case 1: parts[0]
    default: .object([.init("type", .string("Sequence")), .init("pretokenizers", .array(parts))])
    }
  }

  var decoderJSON: JSON {
    switch decoding {
    case .byteLevel: Self.byteLevel(addsSpace: true, usesPattern: true)
    case .characters(let decoding): decoding.json
    }
  }

  private static func byteLevel(addsSpace: Bool = false, usesPattern: Bool) -> JSON {
    .object([
      .init("type", .string("ByteLevel")), .init("add_prefix_space", .bool(addsSpace)),
      .init("trim_offsets", .bool(true)),
      .init("use_regex", .bool(usesPattern)),
    ])
  }
}
