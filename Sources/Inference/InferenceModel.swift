import Compute
import Transformer

/// A model that continues sequences: tokens in, logits of the next token out.
///
/// Several tokens at once (`prefill`) take the attention of training; one token after another (`decode`) one that reads
/// keys and values where they lie. Products with weights are the same. Both leave keys and values in a cache.
/// A model computes one thing at a time; any number of caches may take turns.
package final class InferenceModel {
  package let configuration: ModelConfiguration
  /// How weights are stored.
  package let type: WeightType
  /// The most tokens of a sequence. Beyond the length that the model was trained for it works, at falling quality.
  package let contextLength: Int
  let team: WorkerTeam
  let weights: InferenceWeights
  let rotaryTable: RotaryTable
  let step: DecodeMemory
  let chunk: PrefillMemory
  /// Of each worker, for products with weights.
  let scratch: [RowScratch]

  /// A copy of `parameters`.
  ///
  /// - Parameter contextLength: the model's own when nil.
  /// - Throws: `ComputeError.outOfMemory`.
  package convenience init(
    _ parameters: Parameters, type: WeightType, contextLength: Int? = nil, team: WorkerTeam
  ) throws {
    try self.init(TrainedModel.whole(parameters), type: type, contextLength: contextLength, team: team)
  }

  /// A copy of a model in training as it is now, an adapter merged into it.
  ///
  /// - Throws: `ComputeError.outOfMemory`.
  package convenience init(
    _ trained: TrainedModel, type: WeightType, contextLength: Int? = nil, team: WorkerTeam
  ) throws {
    try self.init(
      InferenceWeights(trained.configuration, trained.table, type: type, team: team, read: trained.copy),
      contextLength: contextLength, team: team)
  }

  /// The model in a Hugging Face directory.
  ///
  /// - Parameters:
  ///   - modelDirectory: the directory itself; `resolveModelDirectory` finds it for a run or checkpoint.
  ///   - rotaryScaling: the model's own when nil.
  /// - Throws: `FileError`, `ModelFileError`, `ConfigurationError` or `ComputeError`, each saying what is wrong.
  package convenience init(
    modelDirectory: String, type: WeightType, contextLength: Int? = nil, rotaryScaling: RotaryScaling? = nil,
    team: WorkerTeam
  ) throws {
    try self.init(
      InferenceWeights(modelDirectory: modelDirectory, type: type, team: team), contextLength: contextLength,
      rotaryScaling: rotaryScaling, team: team)
  }

  package init(
    _ weights: InferenceWeights, contextLength: Int? = nil, rotaryScaling: RotaryScaling? = nil, team: WorkerTeam
  ) throws {
    var configuration = weights.configuration
    if let rotaryScaling { configuration.rotaryScaling = rotaryScaling }
    self.configuration = configuration
    self.weights = weights
    type = weights.type
    self.team = team
    let contextLength = contextLength ?? configuration.maximumSequenceLength
    self.contextLength = contextLength
    rotaryTable = try RotaryTable(configuration.rotarySettings(), positions: contextLength)
    step = try DecodeMemory(configuration, contextLength: contextLength, workers: team.count)
    chunk = try PrefillMemory(
      configuration, type: type.activationType, contextLength: contextLength, workers: team.count)
    let widest = max(
      configuration.hiddenSize, configuration.querySize, configuration.sharedIntermediateSize,
      configuration.intermediateSize)
    var scratch: [RowScratch] = []
    for _ in 0..<team.count { scratch.append(try RowScratch(rows: chunk.capacity, columns: widest)) }
    self.scratch = scratch
  }

  /// Bytes that a model and a short sequence take: the weights, and the largest of them in fp32 while they are read. The
  /// rest of the context is address space until it is used.
  package static func memoryBytes(_ configuration: ModelConfiguration, type: WeightType) -> Int {
    type.byteCount(weights: configuration.parameterCount) + configuration.vocabularySize * configuration.hiddenSize * 4
  }

  /// An empty cache for one sequence.
  ///
  /// - Throws: `ComputeError.outOfMemory`.
  package func makeCache() throws(ComputeError) -> KeyValueCache {
    try KeyValueCache(configuration, type: type.activationType, capacity: contextLength)
  }

  /// Makes the cache hold exactly `tokens`, of which it computes only those that it does not hold yet.
  ///
  /// - Parameter tokens: at least one, each in the vocabulary; no more than the cache's capacity.
  /// - Returns: the logits of the token behind the last one, [vocabulary].
  package func logits(after tokens: [Int32], _ cache: KeyValueCache) -> [Float] {
    var common = zip(tokens, cache.tokens).prefix { $0 == $1 }.count
    // The last token is always read: its logits are not kept.
    common = min(common, tokens.count - 1)
    // Keys that were turned for a sequence of another length are of no use.
    if rotaryTable.settings.dependsOnLength(max(tokens.count, cache.count)) { common = 0 }
    cache.truncate(to: common)
    return prefill(tokens[common...], cache)
  }

  /// Adds tokens to a sequence.
  ///
  /// With dynamic rotary scaling and beyond the trained length, they turn as the length with them asks for, and tokens
  /// that are in the cache already stay as they were, as in `transformers`.
  ///
  /// - Parameter tokens: at least one, each in the vocabulary; no more than the cache has room for.
  /// - Returns: the logits of the token behind the last one, [vocabulary].
  package func prefill(_ tokens: some RandomAccessCollection<Int32>, _ cache: KeyValueCache) -> [Float] {
    precondition(!tokens.isEmpty && tokens.count <= cache.room, "\(tokens.count) tokens, room for \(cache.room)")
    var rest = tokens[...]
    let firstRow = rotaryTable.firstRow(ofDocument: 0..<cache.count + tokens.count)
    while rest.count > PrefillMemory.fewTokens {
      let count = min(rest.count, PrefillMemory.chunkLength)
      addChunk(Array(rest.prefix(count)), cache, firstRotaryRow: firstRow)
      rest = rest.dropFirst(count)
    }
    for token in rest { addToken(token, cache, rotaryRow: firstRow + cache.count) }
    return logits()
  }

  /// Adds one token to a sequence that has room for it.
  ///
  /// - Returns: the logits of the token behind it, [vocabulary].
  package func decode(_ token: Int32, _ cache: KeyValueCache) -> [Float] {
    addToken(token, cache, rotaryRow: cache.count)
    return logits()
  }

  /// The mean of the final hidden states over the tokens, normalised; the cache then holds the tokens.
  func embedding(_ tokens: [Int32], _ cache: KeyValueCache) -> [Float] {
    cache.truncate(to: 0)
    var sum = [Float](repeating: 0, count: configuration.hiddenSize)
    for token in tokens {
      addToken(token, cache, rotaryRow: cache.count)
      let hidden = step.normalize(0, weights.outputNorm, configuration.rmsNormEpsilon)
      for index in sum.indices { sum[index] += hidden.floats[index] }
    }
    let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return sum.map { $0 / max(length, .leastNormalMagnitude) }
  }

  /// z = norm(x)·Eᵀ of the last token added, whose residual stream is in `step.stream`.
  private func logits() -> [Float] {
    let matrix = weights.output
    return [Float](unsafeUninitializedCapacity: matrix.rows) { logits, count in
      let output = MatrixView(logits.baseAddress!, rows: 1, columns: matrix.rows)
      team.run { worker in
        let input = step.normalize(worker, weights.outputNorm, configuration.rmsNormEpsilon)
        let rows = team.share(of: matrix.rows, worker: worker, multiple: 16)
        multiplyRows(matrix.rows(rows), scratch[worker].prepare(input, for: type), into: output.columns(rows))
      }
      count = matrix.rows
    }
  }
}
