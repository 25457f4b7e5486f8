import Compute
import Foundation
import Generation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization

/// Options of the commands that let a model write.
package enum GenerateOptions {
  static let model = Option.required(
    "model", "MODEL", help: "A run directory, a checkpoint of it, a Hugging Face model directory, or a GGUF file.")
  package static let type = Option.choice(
    "type", default: WeightType.bfloat16,
    help:
      "How weights are kept in memory: fp32 is exact; bf16, q8 and q4 (8 and 4 bits) each take half as much and are "
      + "faster. \(NumberType.otherNamesNote)"
  )
  static let context = Option.optionalInteger(
    "context", in: 16...1 << 20, defaultText: "the model's own, times --rope-factor with --rope",
    help:
      "Most tokens that the model reads: prompt and answer together, without the answer's last one. Quality falls beyond "
      + "the length that the model was trained on.")
  static let maximumTokens = Option.optionalInteger(
    "max-tokens", in: 1...Int.max, defaultText: "until the model ends", help: "Most tokens to write.")
  static let thinkingTokens = Option.optionalInteger(
    "max-thinking-tokens", in: 0...Int.max, defaultText: "no limit",
    help: "Most tokens between <think> and </think>; then the reasoning is ended, and the answer follows.")
  static let temperature = Option.number(
    "temperature", default: SamplingDefaults.temperature, in: 0...100,
    help: "Below 1 likely tokens become likelier, above 1 unlikely ones; 0 always takes the likeliest. The model's "
      + "generation_config.json replaces the defaults of sampling.")
  static let topK = Option.integer(
    "top-k", default: SamplingDefaults.topK, in: 0...Int.max,
    help: "Chooses among the N likeliest tokens; 0: among all.")
  static let topP = Option.number(
    "top-p", default: SamplingDefaults.topP, in: 0...1,
    help: "Chooses among the likeliest tokens that together have this probability.")
  static let minP = Option.number(
    "min-p", default: SamplingDefaults.minP, in: 0...1,
    help: "Drops tokens with less than this share of the likeliest one's probability.")
  static let repetitionPenalty = Option.number(
    "repetition-penalty", default: SamplingDefaults.repetitionPenalty, in: 0.1...10,
    help: "Above 1 makes tokens less likely that the prompt or the answer has already.")
  static let presencePenalty = Option.number(
    "presence-penalty", default: SamplingDefaults.presencePenalty, in: -2...2,
    help: "Above 0 makes tokens less likely that the answer has already."
  )
  static let frequencyPenalty = Option.number(
    "frequency-penalty", default: SamplingDefaults.frequencyPenalty, in: -2...2,
    help: "Above 0 makes tokens less likely for each time that the answer has them already.")
  static let stop = Option.list("stop", "TEXT", help: "Ends the answer before this text; may be given several times.")

  static let all: [any OptionDescription] = [
    maximumTokens, thinkingTokens, temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty,
    stop,
    Option.seed, type, context,
    RotaryOptions.mode, RotaryOptions.factor, Option.threads,
  ]

  /// How to sample: as the options that are given say, otherwise as the model's files say.
  package static func sampling(
    _ invocation: Invocation, _ defaults: GenerationDefaults = GenerationDefaults()
  ) -> SamplingSettings {
    var settings = defaults.sampling
    func set(_ property: WritableKeyPath<SamplingSettings, Float>, _ option: Option<Double>) {
      if invocation.isGiven(option) { settings[keyPath: property] = Float(invocation[option]) }
    }
    set(\.temperature, temperature)
    if invocation.isGiven(topK) { settings.topK = invocation[topK] }
    set(\.topP, topP)
    set(\.minP, minP)
    set(\.repetitionPenalty, repetitionPenalty)
    settings.presencePenalty = Float(invocation[presencePenalty])
    settings.frequencyPenalty = Float(invocation[frequencyPenalty])
    settings.seed = UInt64(invocation[Option.seed])
    return settings
  }
}

/// A model in memory with its tokenizer.
struct LoadedModel {
  let directory: String
  let model: any InferenceEngine
  let tokenizer: Tokenizer
  /// What requests and options leave out.
  let defaults: GenerationDefaults

  /// Says on standard error what of the model's settings for generation is not used.
  ///
  /// - Throws: what is wrong with the directory, the weights or the tokenizer.
  init(_ invocation: Invocation) throws {
    directory = try resolveModelDirectory(invocation[GenerateOptions.model])
    tokenizer = try modelTokenizer(directory)
    let configuration = try ModelConfiguration(modelDirectory: directory)
    try configuration.requireLogits(directory)
    let scaling = try RotaryOptions.scaling(invocation, configuration)
    let growth = scaling == nil || scaling == RotaryScaling.none ? 1 : invocation[RotaryOptions.factor]
    model = try loadInferenceEngine(
      modelDirectory: directory, type: invocation[GenerateOptions.type],
      contextLength: invocation[GenerateOptions.context]
        ?? Int(Double(configuration.contextLength) * growth),
      rotaryScaling: scaling, team: WorkerTeam(count: threadCount(invocation)))
    try checkVocabulary(tokenizer, model.configuration.vocabularySize, directory)
    let generation = try GenerationConfiguration(modelDirectory: directory)
    defaults = GenerationDefaults(generation)
    if !generation.unusedKeys.isEmpty {
      let keys = generation.unusedKeys.joined(separator: ", ").prefix(300)
      try? Console.standardError.print(
        "note: the model has settings for generation that are not used: \(keys).")
    }
  }
}

/// The tokenizer of a model, by its directory or file.
func modelTokenizer(_ directory: String) throws -> Tokenizer {
  let files = try TokenizerFiles(directory)
  guard files.hasTokenizer else {
    throw CommandError(
      "\(directory) has no tokenizer.json. Copy the tokenizer that the model was trained with into the directory.")
  }
  return try Tokenizer(files)
}

func checkVocabulary(_ tokenizer: Tokenizer, _ vocabularySize: Int, _ directory: String) throws {
  guard tokenizer.vocabularySize <= vocabularySize else {
    throw InferenceError.tokenizerTooLarge(
      tokens: tokenizer.vocabularySize, vocabularySize: vocabularySize,
      path: try TokenizerFiles(directory).path(of: "tokenizer.json"))
  }
}

/// How quickly an answer came.
struct GenerationClock {
  private let start = monotonicSeconds()
  private(set) var firstTokenSeconds: Double?
  private(set) var tokens = 0

  mutating func count(_ event: GenerationEvent) {
    guard case .token = event else { return }
    tokens += 1
    if firstTokenSeconds == nil { firstTokenSeconds = seconds }
  }

  var seconds: Double { monotonicSeconds() - start }

  /// Of the tokens after the first, which waits for the prompt.
  var tokensPerSecond: Double? {
    guard let firstTokenSeconds, tokens > 1 else { return nil }
    return Double(tokens - 1) / max(1e-9, seconds - firstTokenSeconds)
  }

  var line: String {
    let rate = tokensPerSecond.map { String(format: ", %.0f tokens/s", $0) } ?? ""
    return "\(tokens) tokens\(rate), the first after \(formatDuration(firstTokenSeconds ?? seconds))"
  }
}
