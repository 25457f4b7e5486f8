import CPUEngine
import Compute
import Machine
import Model
import Tokenization

/// A model that continues sequences: tokens in, logits of the next token out.
///
/// There is one way through the layers, `step`: some tokens of some sequences at once, whether of a prompt or of an answer.
/// Keys and values stay in a cache. A model computes one thing at a time; any number of caches may take turns.
package final class InferenceModel {
  package let configuration: ModelConfiguration
  /// How weights are stored.
  package let type: WeightType
  /// The most tokens of a sequence. Beyond the length that the model was trained for it works, at falling quality.
  package let contextLength: Int
  let team: WorkerTeam
  let weights: InferenceWeights
  let rotaryTable: RotaryTable
  let memory: StepMemory

  /// A copy of `parameters`.
  ///
  /// - Parameter contextLength: the model's own when nil.
  /// - Throws: `OutOfMemoryError`.
  package convenience init(
    _ parameters: Parameters, type: WeightType, contextLength: Int? = nil, team: WorkerTeam
  ) throws {
    try self.init(TrainedModel.whole(parameters), type: type, contextLength: contextLength, team: team)
  }

  /// A copy of a model in training as it is now, an adapter merged into it.
  ///
  /// - Throws: `OutOfMemoryError`.
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
  /// - Throws: `FileError`, `ModelFileError`, `ConfigurationError` or `OutOfMemoryError`, each saying what is wrong.
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
    rotaryTable = try RotaryTable(
      configuration.rotarySettings(), positions: max(contextLength, StepMemory.rows))
    memory = try StepMemory(
      configuration, page: PageShape(headSize: configuration.headSize, type: type.activationType),
      workers: team.count)
  }

  /// Bytes that a model and a short sequence take: the weights, and the largest of them in fp32 while they are read. The
  /// rest of the context is address space until it is used.
  package static func memoryBytes(_ configuration: ModelConfiguration, type: WeightType) -> Int {
    type.byteCount(weights: configuration.parameterCount) + configuration.vocabularySize * configuration.hiddenSize * 4
  }

  /// The tokens that end a text: those of the configuration, or the tokenizer's where it names none.
  package func endTokens(_ tokenizer: Tokenizer) -> [Int32] {
    configuration.endTokenIDs.isEmpty ? [tokenizer.endToken] : configuration.endTokenIDs.map(Int32.init)
  }

  /// Tokens of a cache in which so many sequences can become as long as the context; fewer where that takes more than
  /// `byteLimit`, but never less than one sequence.
  package func cacheTokens(sequences: Int, byteLimit: Int = .max) -> Int {
    let sequenceTokens = KeyValuePool.pages(contextLength) * PageShape.length
    let pageBytes = KeyValuePool.byteCount(configuration, type: type.activationType, tokens: PageShape.length)
    return max(sequenceTokens, min(sequences * sequenceTokens, byteLimit / pageBytes * PageShape.length))
  }

  /// Room for the keys and values of so many tokens.
  ///
  /// - Throws: `OutOfMemoryError`.
  package func makePool(tokens: Int) throws(OutOfMemoryError) -> KeyValuePool {
    try KeyValuePool(configuration, type: type.activationType, tokens: tokens)
  }

  /// An empty cache for one sequence, with a pool of its own.
  ///
  /// - Throws: `OutOfMemoryError`.
  package func makeCache() throws(OutOfMemoryError) -> KeyValueCache {
    KeyValueCache(try makePool(tokens: contextLength), capacity: contextLength)
  }

  /// Adds tokens to a sequence.
  ///
  /// With dynamic rotary scaling and beyond the trained length, they turn as the length with them asks for, and tokens
  /// that are in the cache already stay as they were, as in `transformers`.
  ///
  /// - Parameter tokens: at least one, each in the vocabulary; no more than the cache has room for.
  /// - Returns: the logits of the token behind the last one, [vocabulary].
  package func prefill(_ tokens: some RandomAccessCollection<Int32>, _ cache: KeyValueCache) -> [Float] {
    precondition(!tokens.isEmpty, "no tokens")
    var rest = Array(tokens)[...]
    let length = cache.count + tokens.count
    cache.reserve(tokens.count)
    while rest.count > StepMemory.chunkTokens {
      step([StepPiece(cache, rest.prefix(StepMemory.chunkTokens), promptLength: length, .nothing)])
      rest.removeFirst(StepMemory.chunkTokens)
    }
    return logits(StepPiece(cache, rest, promptLength: length, .lastLogits))
  }

  /// Adds one token to a sequence that has room for it.
  ///
  /// - Returns: the logits of the token behind it, [vocabulary].
  package func decode(_ token: Int32, _ cache: KeyValueCache) -> [Float] {
    cache.reserve(1)
    return logits(StepPiece(cache, [token], promptLength: nil, .lastLogits))
  }

  /// Adds one token to each of several sequences in one step.
  ///
  /// - Parameter onLogits: called with the number of a sequence and the logits of the token behind, [vocabulary].
  package func decode(
    _ tokens: [Int32], _ caches: [KeyValueCache], onLogits: (_ sequence: Int, Span<Float>) -> Void
  ) {
    for cache in caches { cache.reserve(1) }
    let pieces = zip(tokens, caches).map { StepPiece($1, [$0], promptLength: nil, .lastLogits) }
    step(pieces) { sequence, _, logits in onLogits(sequence, logits) }
  }

  private func logits(_ piece: StepPiece) -> [Float] {
    var result: [Float] = []
    step([piece]) { _, _, logits in logits.withUnsafeBufferPointer { result = Array($0) } }
    return result
  }
}
