import Model
import Programs

/// What engines of programs do not do.
package enum ProgramEngineError: Error, Equatable, CustomStringConvertible {
  case sight

  package var description: String {
    switch self {
    case .sight: "a model that sees is not trained on this device. Choose --device cpu."
    }
  }
}

/// Makes engines whose computation is programs, which `runner` runs.
package struct ProgramEngineProvider<Runner: ProgramRunner>: TrainingEngineProvider {
  private let device: Device<Runner>
  private let sizes: ProgramSizes

  package init(_ runner: Runner, _ sizes: ProgramSizes = ProgramSizes()) {
    device = Device(runner)
    self.sizes = sizes
  }

  package static var fastestPrecision: ElementType { Runner.fastestPrecision }
  /// Scores of attention, which a program has as a whole, are most of what a large batch keeps otherwise.
  package static var recomputesByDefault: Bool { true }

  package var failure: (any Error)? { device.failure }
  package var attention: String? { device.attention?.description }

  /// - Throws: `ProgramEngineError` for a model that sees; what reading a base throws.
  package func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine {
    var adapter: LoRAConfiguration?
    var table = model.trained.table
    if case .adapter(let lora, let baseTable, _) = model { (adapter, table) = (lora.configuration, baseTable) }
    try check(model.configuration)
    let description = ProgramModel(
      model.configuration, table: table, trained: model.trained.table, adapter: adapter, settings,
      sizes(of: model.configuration, settings), replicas: device.runner.replicas)
    return try ProgramTrainingEngine(model, description, settings, device)
  }

  /// What the programs of a model have: attention by the device's kernel, where a trial of it, now or earlier, has shown that it
  /// computes what the composed one does.
  package func sizes(of model: ModelConfiguration, _ settings: EngineSettings) -> ProgramSizes {
    let trial = AttentionTrial(
      heads: model.headCount, groups: model.keyValueHeadCount, size: model.headSize, TensorElement(settings.precision))
    let verdict = device.runner.attentionVerdict(trial.shape) { try trial.verdict(on: device.runner) }
    device.attention = device.attention ?? verdict
    var sizes = sizes
    if let verdict, verdict.works { sizes.attention = .kernel }
    return sizes
  }

  private func check(_ model: ModelConfiguration) throws(ProgramEngineError) {
    guard model.sight == nil else { throw .sight }
  }

  /// Where programs run in the host's memory, what they take there. Elsewhere twice the weights, which go there and come
  /// back. Several processes exchange gradients and weights there.
  ///
  /// - Throws: `ProgramEngineError`, before a run is begun that cannot be.
  package func memoryBytes(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> Int {
    try check(configuration)
    let trained = lora?.parameterCount(configuration) ?? configuration.parameterCount
    let exchanged = settings.ranks > 1 ? 2 * 4 * trained : 0
    if device.runner.usesHostMemory { return try memory(configuration, lora, settings).neededBytes + exchanged }
    return 2 * 4 * (configuration.parameterCount + trained) + exchanged
  }

  package func deviceMemory(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> DeviceMemory? {
    try check(configuration)
    return device.runner.usesHostMemory ? nil : try memory(configuration, lora, settings)
  }

  private func memory(
    _ configuration: ModelConfiguration, _ lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> DeviceMemory {
    try StepPrograms(
      configuration, lora: lora, settings, sizes(of: configuration, settings),
      teacherSizes: settings.teaching.map { sizes(of: $0.configuration, settings) }, replicas: device.runner.replicas
    ).memory(on: device.runner)
  }
}
