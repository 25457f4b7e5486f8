import CPUEngine
import Compute
import Corpus
import Foundation
import Generation
import Model
import ModelFiles
import Storage
import StructuredOutput
import Tokenization
import Training

/// For the tests in Tests/Interop: a model's logits, and models of random weights, as files that Python reads.
///
///     interop-probe logits MODEL DOCUMENTS.json OUTPUT.safetensors
///     interop-probe gradients MODEL DOCUMENTS.json OUTPUT
///     interop-probe steps MODEL DOCUMENTS.json OUTPUT
///     interop-probe create CONFIG.json SEED float32|bfloat16 TOKENIZER OUTPUT
///     interop-probe preferences MODEL REFERENCE DATA LOSS BETA sum|mean OUTPUT.safetensors [NUMBER]
///     interop-probe unpaired-preferences MODEL REFERENCE DATA BETA DESIRABLE UNDESIRABLE OUTPUT.safetensors
///     interop-probe reward MODEL DATA OUTPUT.safetensors
///     interop-probe distillation MODEL TEACHER DOCUMENTS.json ALPHA TEMPERATURE BETA OUTPUT.safetensors [TOP]
///     interop-probe policy MODEL CASE.json OUTPUT.safetensors
///     interop-probe values MODEL CASE.json OUTPUT.safetensors
///     interop-probe distributions CASES.json
///     interop-probe structured TOKENIZER CASES.json
///     interop-probe templates
///     interop-probe pictures CONFIG.json FILE...
///     interop-probe sight MODEL CASE.json OUTPUT.safetensors
///     interop-probe tower DIRECTORY CASE.json OUTPUT.safetensors
///
/// DOCUMENTS.json holds arrays of token ids, which are packed into one batch; the output has one tensor `logits`,
/// [tokens, vocabulary]. `gradients` writes a directory like MODEL's, a model's or an adapter's, that holds in place of
/// each weight the gradient of the mean loss of predicting each document's next tokens plus the weighted balance of experts,
/// and prints both sums as JSON; nothing is dropped out.
/// `steps` writes the model after five steps of AdamW down that gradient, with the rate 0.001 and a weight decay of 0.1.
/// `create` writes a model directory of the configuration with random weights.
/// `preferences` takes all training pairs of prepared data as one batch and writes `loss`, trl's metrics, and the gradient
/// of each weight, all of the mean over the pairs; NUMBER is that of --label-smoothing or --simpo-gamma.
/// `unpaired-preferences` does the same for KTO, with the weights of both kinds of answers.
/// `reward` does the same for a reward model.
/// `distillation` takes the documents as one batch and writes `loss`, `cross_entropy` and the gradient of each weight, all of
/// the mean over tokens.
/// `policy` takes the `answers` of a case as one batch (`prompt`, `answer`, `advantage`, `old`, `reference`, `written`), with
/// the loss by its name and its settings, and writes `loss`, what is reported, and the gradient of each weight.
/// `values` does the same for PPO: also the gradient of the `head`, and `advantages` and `returns` of all tokens that answers have,
/// from their `reward`, `old_values` and log-probabilities.
/// `distributions` prints, for each case of `logits`, `context` and sampling settings by their names in the API, the
/// probability of each token, as JSON.
/// `structured` prints, for each case of a `response_format`, a `seed` and `documents`: what is wrong with the format, or a
/// text that random logits make under its constraint, whether it came to an end, the text of a model that always wants to
/// end, and which documents the constraint allows.
/// `templates` reads a chat `template`, its `values` and `now`, what its clock tells, from each line of its input, and prints
/// the pieces of the text, each with whether it is content, and the ranges of its generation blocks; or what refuses it.
/// `pictures` prints for each file its pixels, and what a tower sees of them by a preprocessor_config.json; or what refuses it.
/// `sight` and `tower` are described in Sight.swift.
func run(_ arguments: [String]) throws {
  switch (arguments.first, arguments.count) {
  case ("logits", 4): try writeLogits(model: arguments[1], documents: arguments[2], output: arguments[3])
  case ("gradients", 4): try writeGradients(model: arguments[1], documents: arguments[2], output: arguments[3])
  case ("steps", 4): try writeSteps(model: arguments[1], documents: arguments[2], output: arguments[3])
  case ("create", 6):
    guard let seed = UInt64(arguments[2]) else { throw ProbeError(description: "\(arguments[2]) is no seed") }
    try Parameters(configuration: ModelConfiguration(huggingFaceConfig: arguments[1]), seed: seed).save(
      modelDirectory: arguments[5], type: arguments[3] == "bfloat16" ? .bfloat16 : .float32,
      tokenizerDirectory: arguments[4])
  case ("preferences", 8), ("preferences", 9): try writePreferences(arguments)
  case ("unpaired-preferences", 8): try writeUnpairedPreferences(arguments)
  case ("reward", 4): try writeReward(model: arguments[1], data: arguments[2], output: arguments[3])
  case ("distillation", 8), ("distillation", 9): try writeDistillation(arguments)
  case ("policy", 4): try writePolicy(model: arguments[1], case: arguments[2], output: arguments[3])
  case ("values", 4): try writeValues(model: arguments[1], case: arguments[2], output: arguments[3])
  case ("distributions", 2): try printDistributions(arguments[1])
  case ("structured", 3): try printStructured(tokenizer: arguments[1], cases: arguments[2])
  case ("templates", 1): try printTemplates()
  case ("sight", 4): try writeSight(model: arguments[1], case: arguments[2], output: arguments[3])
  case ("tower", 4): try writeTower(directory: arguments[1], case: arguments[2], output: arguments[3])
  case ("pictures", 3...): try printPictures(config: arguments[1], files: Array(arguments[2...]))
  default: throw ProbeError(description: "usage: see Tests/InteropProbe/main.swift")
  }
}

struct ProbeError: Error, CustomStringConvertible { let description: String }

/// The tokens of the documents in a JSON file, end to end, and where each begins.
func readDocuments(_ path: String, vocabularySize: Int) throws -> (tokens: [Int32], offsets: [Int32]) {
  var tokens: [Int32] = []
  var offsets: [Int32] = [0]
  for document in try JSON(contentsOf: path).arrayValue ?? [] {
    tokens += try (document.arrayValue ?? []).map { id in
      guard let id = id.integerValue, (0..<vocabularySize).contains(id) else {
        throw ProbeError(description: "\(path): \(id.compactText) is no token of the model")
      }
      return Int32(id)
    }
    offsets.append(Int32(tokens.count))
  }
  return (tokens, offsets)
}

/// The model in a directory as training has it: an adapter's directory is an adapter on its base.
func readTrainedModel(_ directory: String) throws -> TrainedModel {
  guard PEFTAdapter.isAdapter(directory) else { return .whole(try Parameters(modelDirectory: directory)) }
  let files = try PEFTAdapter(directory: directory)
  let base = try files.baseDirectory()
  let stored = try StoredModel(modelDirectory: base)
  let frozen = try FrozenWeights(stored.configuration, stored.table, type: .float32, read: stored.read)
  let peft = files.configuration
  let targets = LoRATarget.allCases.filter { target in
    files.modules.keys.contains { $0.hasSuffix(".\(target.rawValue).weight") }
  }
  let adapter = try LoRAAdapter(
    directory: directory,
    LoRAConfiguration(rank: peft.rank, alpha: peft.alpha, dropout: 0, targets: targets),
    model: frozen.configuration,
    base: LoRABase(path: base, contentHash: try ModelWeights(directory: base).contentHash()))
  return .adapter(adapter, on: frozen)
}

/// The documents in one batch, to predict each one's next tokens.
func readBatch(_ documents: String, vocabularySize: Int) throws -> Batch {
  let (tokens, offsets) = try readDocuments(documents, vocabularySize: vocabularySize)
  let ends = Set(offsets)
  return Batch(
    tokens: tokens, targets: Array(tokens.dropFirst()) + [0],
    lossWeights: tokens.indices.map { ends.contains(Int32($0 + 1)) ? Float(0) : 1 }, documentOffsets: offsets)
}

func writeSteps(model path: String, documents: String, output: String) throws {
  let parameters = try Parameters(modelDirectory: try resolveModelDirectory(path))
  let batch = try readBatch(documents, vocabularySize: parameters.configuration.vocabularySize)
  let engine = try CPUEngineProvider(threads: 2).makeEngine(
    .whole(parameters), EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: .adamW))
  for number in 1...5 {
    engine.zeroGradients()
    let sum = engine.forwardBackward(batch, .known(batch.lossWeights), mean: .tokens, tokensBefore: 0).sum(batch)
    engine.step(
      OptimizerStep(
        number: number, gradientScale: 1 / sum.weight,
        adamW: .init(learningRate: 0.001, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1),
        muon: .init(learningRate: 0, weightDecay: 0)))
  }
  for entry in engine.trained.entries {
    for (index, value) in zip(entry.range, engine.read(.weights, of: entry)) { parameters.values[index] = value }
  }
  try parameters.save(modelDirectory: output, tokenizerDirectory: nil)
}

func writeGradients(model path: String, documents: String, output: String) throws {
  let model = try readTrainedModel(try resolveModelDirectory(path))
  let batch = try readBatch(documents, vocabularySize: model.configuration.vocabularySize)
  let pass = try TrainingPass(
    model, precision: .float32, maximumTokens: batch.tokenCount, team: WorkerTeam(count: 2))
  pass.zeroGradients()
  let sum = pass.forwardBackward(batch)
  let trained = model.trained
  for index in 0..<trained.table.totalCount { trained.values[index] = pass.gradients![index] / Float(sum.weight) }
  switch model {
  case .whole(let parameters): try parameters.save(modelDirectory: output, tokenizerDirectory: nil)
  case .adapter(let adapter, _): try adapter.save(directory: output, tokenizerDirectory: nil)
  }
  let balance = (pass.expertUse?.balance ?? 0) / sum.weight
  print(JSON.object([.init("loss", .number(sum.loss / sum.weight)), .init("balance", .number(balance))]).compactText)
}

func writeLogits(model: String, documents path: String, output: String) throws {
  let parameters = try Parameters(modelDirectory: try resolveModelDirectory(model))
  let (tokens, offsets) = try readDocuments(path, vocabularySize: parameters.configuration.vocabularySize)
  let pass = try TrainingPass(
    parameters, precision: .float32, maximumTokens: tokens.count, team: WorkerTeam(count: 2), trains: false)
  let logits = pass.logits(
    Batch(
      tokens: tokens, targets: tokens, lossWeights: tokens.map { _ in 0 }, documentOffsets: offsets))
  let writer = try SafetensorsWriter(
    output,
    tensors: [.init(name: "logits", type: .float32, shape: [tokens.count, parameters.configuration.vocabularySize])])
  try logits.withUnsafeBufferPointer { try writer.append($0) }
  try writer.commit()
}

func printDistributions(_ path: String) throws {
  let distributions = try (JSON(contentsOf: path).arrayValue ?? []).map { settingsCase in
    func numbers(_ key: String) -> [Double] { (settingsCase[key]?.arrayValue ?? []).compactMap(\.doubleValue) }
    func set(_ path: WritableKeyPath<SamplingSettings, Float>, _ key: String) {
      if let value = settingsCase[key]?.doubleValue { settings[keyPath: path] = Float(value) }
    }
    var settings = SamplingSettings()
    settings.topK = settingsCase["top_k"]?.integerValue ?? 0
    set(\.temperature, "temperature")
    set(\.topP, "top_p")
    set(\.minP, "min_p")
    set(\.repetitionPenalty, "repetition_penalty")
    if case .object(let biases)? = settingsCase["logit_bias"] {
      for bias in biases { settings.logitBias[Int32(bias.key) ?? -1] = Float(bias.value.doubleValue ?? 0) }
    }
    let logits = numbers("logits").map { Float($0) }
    var sampler = Sampler(settings, vocabularySize: logits.count, context: numbers("context").map { Int32($0) })
    var probabilities = [JSON](repeating: .number(0), count: logits.count)
    for candidate in sampler.distribution(logits.span) {
      probabilities[Int(candidate.token)] = .number(Double(candidate.probability))
    }
    return JSON.array(probabilities)
  }
  print(JSON.array(distributions).compactText)
}

func printStructured(tokenizer path: String, cases: String) throws {
  let tokenizer = try Tokenizer(directory: path)
  let vocabulary = TokenVocabulary(tokenizer, endTokens: [tokenizer.endToken])
  for structuredCase in try JSON(contentsOf: cases).arrayValue ?? [] {
    do {
      let format: ResponseFormat =
        if let value = structuredCase["choice"] {
          .choice(value, place: "choice")
        } else if let value = structuredCase["regex"] {
          .regex(value, place: "regex")
        } else if let value = structuredCase["grammar"] { .grammar(value, place: "grammar") } else {
          try ResponseFormat(structuredCase["response_format"])
        }
      guard let constraint = try format.constraint(vocabulary) else {
        throw ProbeError(description: "the format is no format")
      }
      let documents = (structuredCase["documents"]?.arrayValue ?? []).compactMap(\.stringValue)
      let (text, isFinished) = randomText(
        constraint, tokenizer, seed: UInt64(structuredCase["seed"]?.integerValue ?? 0))
      print(
        JSON.object([
          .init("text", .string(text)), .init("finished", .bool(isFinished)),
          .init("shortest", shortestText(constraint, tokenizer, seed: 1).map { .string($0) } ?? .null),
          .init("accepted", .array(try documents.map { .bool(try allows(constraint, $0, tokenizer)) })),
        ]).compactText)
    } catch let error as StructuredOutputError {
      print(JSON.object([.init("error", .string(error.description))]).compactText)
    }
  }
}

/// What random logits write, with a growing liking for what closes a string, an array or an object.
func randomText(_ constraint: JSONConstraint, _ tokenizer: Tokenizer, seed: UInt64) -> (String, isFinished: Bool) {
  var settings = SamplingSettings()
  (settings.temperature, settings.topK, settings.seed) = (1, 0, seed)
  var sampler = Sampler(settings, vocabularySize: tokenizer.vocabularySize, constraint: constraint)
  var random = SplitMix64(seed: seed &+ 1)
  let closes = (0..<Int32(tokenizer.vocabularySize)).map { token in
    tokenizer.bytes(of: token).contains { "\"]}".utf8.contains($0) } || token == tokenizer.endToken
  }
  var tokens: [Int32] = []
  while tokens.count < 600 {
    let logits = closes.map { Float(6 * random.nextUniform()) + ($0 ? Float(tokens.count) / 20 : 0) }
    let token = sampler.next(logits.span).token
    if token == tokenizer.endToken { return (tokenizer.decode(tokens), true) }
    tokens.append(token)
  }
  return (tokenizer.decode(tokens), false)
}

/// What a model writes that always wants to end; nil if it does not come to an end.
func shortestText(_ constraint: JSONConstraint, _ tokenizer: Tokenizer, seed: UInt64) -> String? {
  var settings = SamplingSettings()
  (settings.temperature, settings.topK, settings.seed) = (1, 8, seed)
  var sampler = Sampler(settings, vocabularySize: tokenizer.vocabularySize, constraint: constraint)
  var random = SplitMix64(seed: seed)
  var tokens: [Int32] = []
  while tokens.count < 600 {
    let logits = (0..<Int32(tokenizer.vocabularySize)).map {
      Float(6 * random.nextUniform()) + ($0 == tokenizer.endToken ? 60 : 0)
    }
    let token = sampler.next(logits.span).token
    if token == tokenizer.endToken { return tokenizer.decode(tokens) }
    tokens.append(token)
  }
  return nil
}

func allows(_ constraint: JSONConstraint, _ text: String, _ tokenizer: Tokenizer) throws -> Bool {
  var constraint = constraint
  for token in try tokenizer.encode(text, specialTokens: .asText) {
    guard constraint.allowedTokens().contains(token) else { return false }
    constraint.accept(token)
  }
  return constraint.allowedTokens().contains(tokenizer.endToken)
}

do {
  try run(Array(CommandLine.arguments.dropFirst()))
} catch {
  FileHandle.standardError.write(Data("interop-probe: \(error)\n".utf8))
  exit(1)
}
