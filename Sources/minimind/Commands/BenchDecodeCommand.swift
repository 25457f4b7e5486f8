import CPUEngine
import Compute
import Foundation
import Generation
import Model
import ModelFiles

/// `minimind bench decode`: how quickly one token follows another.
let benchDecodeCommand: Command = {
  let streams = Option.integer(
    "streams", default: 1, in: 1...CPUInferenceEngine.limits.sequences,
    help: "Texts that are written at the same time; the rate is that of all together.")
  return inferenceBenchmark(
    "decode", summary: "measures writing, one token after another", defaultTokens: 128, options: [streams]
  ) { model, tokens, invocation in
    let count = invocation[streams]
    let pool = try KeyValuePool(model, tokens: count * (model.contextLength + model.limits.pageTokens))
    let caches = (0..<count).map { _ in KeyValueCache(pool, capacity: model.contextLength) }
    var last = [Int32](repeating: 1, count: count)
    let seconds = medianSeconds {
      for cache in caches { cache.truncate(to: 0) }
      for _ in 0..<tokens {
        model.decode(last, caches) { stream, logits in
          // The next token depends on the last one's logits, as in use.
          last[stream] = logits[0] < logits[1] ? 1 : 2
        }
      }
    }
    return (seconds, count)
  }
}()

/// `minimind bench prefill`: how quickly a prompt is read.
let benchPrefillCommand = inferenceBenchmark(
  "prefill", summary: "measures reading a prompt", defaultTokens: 512
) { model, tokens, _ in
  let cache = try model.makeCache()
  let prompt = (0..<tokens).map { Int32($0 * 7919 % model.configuration.vocabularySize) }
  let seconds = medianSeconds {
    cache.truncate(to: 0)
    _ = model.prefill(prompt, cache)
  }
  return (seconds, 1)
}

private func inferenceBenchmark(
  _ name: String, summary: String, defaultTokens: Int, options: [any OptionDescription] = [],
  measure:
    @escaping @Sendable (any InferenceEngine, _ tokens: Int, Invocation) throws -> (seconds: Double, streams: Int)
) -> Command {
  let model = Option.text(
    "model", "MODEL", default: "small",
    help: "\(ModelConfiguration.names.joined(separator: ", ")) with random weights, or a model directory or run.")
  let tokens = Option.integer(
    "tokens", default: defaultTokens, in: 1...1 << 16, help: "Tokens of a run; the median of 7 counts.")
  return Command(
    "bench", name, summary: summary,
    options: [model, tokens] + options + [GenerateOptions.type, Option.json, Option.threads],
    example: "minimind bench \(name) --model small"
  ) { invocation in
    let count = invocation[tokens]
    let threads = threadCount(invocation)
    let loaded = try benchmarkModel(
      invocation[model], type: invocation[GenerateOptions.type], contextLength: count, threads: threads)
    let (seconds, streams) = try measure(loaded, count, invocation)
    let result = InferenceRate(
      model: invocation[model], type: invocation[GenerateOptions.type].rawValue, threads: threads, tokens: count,
      streams: streams, tokensPerSecond: Double(streams * count) / seconds)
    if invocation[Option.json] {
      try printJSON(result)
    } else {
      try Console.standardOutput.print(
        "\(name) \(result.model), \(result.type), \(threads) thread\(threads == 1 ? "" : "s"), \(count) tokens"
          + (streams == 1 ? "" : " in each of \(streams) streams")
          + String(format: ": %.0f tokens/s", result.tokensPerSecond))
    }
  }
}

private func benchmarkModel(
  _ name: String, type: WeightType, contextLength: Int, threads: Int
) throws -> any InferenceEngine {
  let team = WorkerTeam(count: threads)
  if ModelConfiguration.names.contains(name) && !FileManager.default.fileExists(atPath: name) {
    let parameters = try Parameters(configuration: try modelConfiguration(name), seed: 1)
    return try CPUInferenceEngine(parameters, type: type, contextLength: contextLength, team: team)
  }
  return try loadInferenceEngine(
    modelDirectory: try resolveModelDirectory(name), type: type, contextLength: contextLength, team: team)
}

private struct InferenceRate: Encodable {
  let model: String
  let type: String
  let threads: Int
  let tokens: Int
  let streams: Int
  let tokensPerSecond: Double

  enum CodingKeys: String, CodingKey {
    case model, type, threads, tokens, streams
    case tokensPerSecond = "tokens_per_second"
  }
}
