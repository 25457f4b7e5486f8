import Storage
import Tokenization

/// How text is split before its parts are merged, by the name that llama.cpp has for it (`tokenizer.ggml.pre`), as a
/// tokenizer's `pre_tokenizer` says the same. The names and patterns are those of llama-vocab.cpp.
struct GGUFSplit {
  /// The first one is written.
  let names: [String]
  /// The `pre_tokenizer` of `tokenizer.json`.
  let preTokenizer: JSON
  /// Whether a word that is a token is that token, whatever the merges make of it.
  var looksUpWords = false
  /// Whether a text begins with the begin token where the file does not say.
  var addsBegin = false

  /// The one of a name.
  static func named(_ name: String) -> GGUFSplit? { all.first { $0.names.contains(name) } }

  static let all: [GGUFSplit] = [
    GGUFSplit(
      names: ["gpt-2", "phi-2", "gigachat", "mellum", "exaone4", "olmo"], preTokenizer: byteLevel(splits: true)),
    GGUFSplit(
      names: ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
      preTokenizer: sequence([split(LearnedSplit.llama3.pattern ?? "")]), looksUpWords: true, addsBegin: true),
    GGUFSplit(names: ["dbrx", "smaug-bpe"], preTokenizer: sequence([split(LearnedSplit.llama3.pattern ?? "")])),
    GGUFSplit(
      names: ["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"],
      preTokenizer: sequence([split(LearnedSplit.qwen2.pattern ?? "")])),
    GGUFSplit(
      names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
      preTokenizer: sequence([digits], splits: true)),
    GGUFSplit(
      names: ["tekken"],
      preTokenizer: sequence([split(#"[^\r\n\p{L}\p{N}]?"# + cased() + #"|\p{N}"# + afterDigits)]), looksUpWords: true,
      addsBegin: true),
    GGUFSplit(
      names: ["gpt-4o", "llama4", "kanana2"],
      preTokenizer: sequence([split(#"[^\r\n\p{L}\p{N}]?"# + cased(contractions) + #"|\p{N}{1,3}"# + afterDigits)])),
    GGUFSplit(
      names: ["deepseek-v3"],
      preTokenizer: sequence([split(#"\p{N}{1,3}"#), split("[一-龥\u{3040}-ゟ゠-ヿ]+"), split(deepSeek)])),
    GGUFSplit(
      names: ["deepseek-coder"],
      preTokenizer: sequence([
        split("[\r\n]"), split(#"\s?\p{L}+"#), split(#"\s?\p{P}+"#), split("[一-龥ࠀ-一가-\u{D7FF}]+"), digits,
      ])),
    GGUFSplit(
      names: ["default", ""],
      preTokenizer: sequence([
        split(#"[\p{P}\$\+<=>\^~\|]+"#), split(gpt2), split(#"\p{N}+"#), split("[0-9][0-9][0-9]"),
      ])),
  ]

  private static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
  private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
  private static let afterDigits = #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let deepSeek =
    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"##
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// A word with capitals before small letters, as o200k and Tekken cut at a change of case.
  private static func cased(_ ending: String = "") -> String {
    #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"# + ending
      + #"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"# + ending
  }

  private static let digits = JSON.object([
    .init("type", .string("Digits")), .init("individual_digits", .bool(true)),
  ])

  private static func split(_ pattern: String) -> JSON {
    .object([
      .init("type", .string("Split")), .init("pattern", .object([.init("Regex", .string(pattern))])),
      .init("behavior", .string("Isolated")), .init("invert", .bool(false)),
    ])
  }

  private static func byteLevel(splits: Bool) -> JSON {
    .object([
      .init("type", .string("ByteLevel")), .init("add_prefix_space", .bool(false)), .init("trim_offsets", .bool(true)),
      .init("use_regex", .bool(splits)),
    ])
  }

  /// - Parameter splits: whether GPT-2's pattern comes last.
  private static func sequence(_ steps: [JSON], splits: Bool = false) -> JSON {
    .object([
      .init("type", .string("Sequence")), .init("pretokenizers", .array(steps + [byteLevel(splits: splits)])),
    ])
  }
}
