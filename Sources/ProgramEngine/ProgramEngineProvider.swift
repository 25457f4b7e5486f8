import Model
import Programs

/// What engines of programs do not do.
package enum ProgramEngineError: Error, Equatable, CustomStringConvertible {
  case ranks(Int)
  case score
  case sight

  package var description: String {
    switch self {
    case .ranks(let count): "this device trains in one process, not in \(count). Start the program without mpirun."
    case .sight: "a model that sees is not trained on this device. Choose --device cpu."
    case .score: "a reward model is not trained on this device. Choose --device cpu."
    }
  }
}

/// Makes engines whose computation is programs, which `runner` runs.
package struct ProgramEngineProvider<Runner: ProgramRunner>: TrainingEngineProvider {
  private let device: Device<Runner>
  private let lossRows: Int
  private let expertRows: Int

  /// - Parameters:
  ///   - lossRows: rows of logits that are there at a time.
  ///   - expertRows: the most rows that pass an expert's products at a time.
  package init(_ runner: Runner, lossRows: Int = 2048, expertRows: Int = 2048) {
    device = Device(runner)
    self.lossRows = lossRows
    self.expertRows = expertRows
  }

  package static var fastestPrecision: ElementType { Runner.fastestPrecision }
  /// Scores of attention, which a program has as a whole, are most of what a large batch keeps otherwise.
  package static var recomputesByDefault: Bool { true }

  package var failure: (any Error)? { device.failure }

  /// - Throws: `ProgramEngineError` for several processes and for a reward model; what reading a base throws.
  package func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine {
    var adapter: LoRAConfiguration?
    var table = model.trained.table
    if case .adapter(let lora, let baseTable, _) = model { (adapter, table) = (lora.configuration, baseTable) }
    try check(model.configuration, settings)
    let description = ProgramModel(
      model.configuration, table: table, trained: model.trained.table, adapter: adapter, settings, lossRows: lossRows,
      expertRows: expertRows, replicas: device.runner.replicas)
    return try ProgramTrainingEngine(model, description, settings, device)
  }

  private func check(_ model: ModelConfiguration, _ settings: EngineSettings) throws(ProgramEngineError) {
    guard !model.scoresTexts else { throw .score }
    guard model.sight == nil else { throw .sight }
    guard settings.ranks == 1 else { throw .ranks(settings.ranks) }
  }

  /// Where programs run in the host's memory, what they take there. Elsewhere twice the weights, which go there and come
  /// back.
  ///
  /// - Throws: `ProgramEngineError`, before a run is begun that cannot be.
  package func memoryBytes(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> Int {
    try check(configuration, settings)
    if device.runner.usesHostMemory { return try memory(configuration, lora, settings).neededBytes }
    let trained = lora?.parameterCount(configuration) ?? configuration.parameterCount
    return 2 * 4 * (configuration.parameterCount + trained)
  }

  package func deviceMemory(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> DeviceMemory? {
    try check(configuration, settings)
    return device.runner.usesHostMemory ? nil : try memory(configuration, lora, settings)
  }

  private func memory(
    _ configuration: ModelConfiguration, _ lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> DeviceMemory {
    try StepPrograms(
      configuration, lora: lora, settings, lossRows: lossRows, expertRows: expertRows,
      replicas: device.runner.replicas
    ).memory(on: device.runner)
  }
}
