import Compute
import Foundation
import Inference
import ModelFiles
import Transformer

/// `minimind bench decode`: how quickly one token follows another.
let benchDecodeCommand = inferenceBenchmark(
  "decode", summary: "measures writing, one token after another", defaultTokens: 128
) { model, tokens in
  let cache = try model.makeCache()
  var token: Int32 = 1
  return medianSeconds {
    cache.truncate(to: 0)
    for _ in 0..<tokens {
      let logits = model.decode(token, cache)
      // The next token depends on the last one's logits, as in use.
      token = logits[0] < logits[1] ? 1 : 2
    }
  }
}

/// `minimind bench prefill`: how quickly a prompt is read.
let benchPrefillCommand = inferenceBenchmark(
  "prefill", summary: "measures reading a prompt", defaultTokens: 512
) { model, tokens in
  let cache = try model.makeCache()
  let prompt = (0..<tokens).map { Int32($0 * 7919 % model.configuration.vocabularySize) }
  return medianSeconds {
    cache.truncate(to: 0)
    _ = model.prefill(prompt, cache)
  }
}

private func inferenceBenchmark(
  _ name: String, summary: String, defaultTokens: Int,
  seconds: @escaping @Sendable (_ model: InferenceModel, _ tokens: Int) throws -> Double
) -> Command {
  let model = Option.text(
    "model", "MODEL", default: "small",
    help: "tiny, small, moe or base with random weights, or a model directory or run.")
  let tokens = Option.integer(
    "tokens", default: defaultTokens, in: 1...1 << 16, help: "Tokens of a run; the median of 7 counts.")
  return Command(
    "bench", name, summary: summary, options: [model, tokens, GenerateOptions.type, Option.json, Option.threads],
    example: "minimind bench \(name) --model small"
  ) { invocation in
    let count = invocation[tokens]
    let threads = threadCount(invocation)
    let loaded = try benchmarkModel(
      invocation[model], type: invocation[GenerateOptions.type], contextLength: count, threads: threads)
    let result = InferenceRate(
      model: invocation[model], type: invocation[GenerateOptions.type].rawValue, threads: threads, tokens: count,
      tokensPerSecond: Double(count) / (try seconds(loaded, count)))
    if invocation[Option.json] {
      try printJSON(result)
    } else {
      try Console.standardOutput.print(
        "\(name) \(result.model), \(result.type), \(threads) thread\(threads == 1 ? "" : "s"), \(count) tokens: "
          + String(format: "%.0f tokens/s", result.tokensPerSecond))
    }
  }
}

private func benchmarkModel(
  _ name: String, type: WeightType, contextLength: Int, threads: Int
) throws -> InferenceModel {
  let team = WorkerTeam(count: threads)
  if ModelConfiguration.names.contains(name) && !FileManager.default.fileExists(atPath: name) {
    let parameters = try Parameters(configuration: try modelConfiguration(name), seed: 1)
    return try InferenceModel(parameters, type: type, contextLength: contextLength, team: team)
  }
  return try InferenceModel(
    modelDirectory: try resolveModelDirectory(name), type: type, contextLength: contextLength, team: team)
}

private struct InferenceRate: Encodable {
  let model: String
  let type: String
  let threads: Int
  let tokens: Int
  let tokensPerSecond: Double

  enum CodingKeys: String, CodingKey {
    case model, type, threads, tokens
    case tokensPerSecond = "tokens_per_second"
  }
}
