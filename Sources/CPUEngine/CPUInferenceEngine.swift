import Compute
import Machine
import Model

/// Inference on the processor: the weights packed in one of several types, and a step that the workers of a team share.
///
/// This is the second forward pass of this room: `TrainingPass` takes whole documents, keeps what the backward pass needs,
/// and reads the weights as training does.
package final class CPUInferenceEngine: InferenceEngine {
  package static let limits = StepLimits(
    rows: StepMemory.rows, promptRows: StepMemory.promptRows, pageTokens: PageShape.length)

  package let configuration: ModelConfiguration
  /// How weights are stored.
  package let type: WeightType
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
    try self.init(
      InferenceWeights(parameters.configuration, parameters.table, type: type, team: team) { entry, _, target in
        target.update(from: parameters.values + entry.offset, count: entry.count)
      }, contextLength: contextLength, team: team)
  }

  /// A copy of a model in training as it is now, an adapter merged into it.
  ///
  /// - Throws: `OutOfMemoryError`.
  package convenience init(_ trained: any TrainingEngine, type: WeightType, team: WorkerTeam) throws {
    try self.init(
      InferenceWeights(trained.configuration, trained.table, type: type, team: team) { entry, _, target in
        trained.modelWeight(entry).withUnsafeBufferPointer {
          target.update(from: $0.baseAddress!, count: entry.count)
        }
      }, team: team)
  }

  /// - Parameters:
  ///   - contextLength: the model's own when nil.
  ///   - rotaryScaling: the model's own when nil.
  /// - Throws: `OutOfMemoryError`; `ConfigurationError` for a context that the model's sliding window does not cover.
  package init(
    _ weights: InferenceWeights, contextLength: Int? = nil, rotaryScaling: RotaryScaling? = nil, team: WorkerTeam
  ) throws {
    var configuration = weights.configuration
    if let rotaryScaling { configuration.rotaryScaling = rotaryScaling }
    self.configuration = configuration
    self.weights = weights
    type = weights.type
    self.team = team
    let contextLength = contextLength ?? configuration.contextLength
    try configuration.checkContext(contextLength)
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

  /// Bytes of the keys and values of `tokens` tokens, in whole pages.
  package static func cacheByteCount(_ configuration: ModelConfiguration, type: WeightType, tokens: Int) -> Int {
    limits.pages(tokens) * CPUKeyValuePages.byteCount(configuration, type: type.activationType)
  }

  package var limits: StepLimits { Self.limits }

  package var pageByteCount: Int { CPUKeyValuePages.byteCount(configuration, type: type.activationType) }

  package func makePages(_ count: Int) throws(OutOfMemoryError) -> any KeyValuePages {
    try CPUKeyValuePages(configuration, type: type.activationType, count: count)
  }

  package func moveToCurrentThread() { team.moveToCurrentThread() }
}
