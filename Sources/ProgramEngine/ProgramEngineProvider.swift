import Model
import Programs

/// What engines of programs do not do.
package enum ProgramEngineError: Error, Equatable, CustomStringConvertible {
  case dropout
  case ranks(Int)

  package var description: String {
    switch self {
    case .dropout: "adapters are trained without dropout on this device. Choose --lora-dropout 0."
    case .ranks(let count): "this device trains in one process, not in \(count). Start the program without mpirun."
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
  ///   - onFailure: ends the process when the device fails in the middle of a run, which its last checkpoint survives.
  package init(
    _ runner: Runner, lossRows: Int = 2048, expertRows: Int = 2048,
    onFailure: @escaping (any Error) -> Never = { fatalError("\($0)") }
  ) {
    device = Device(runner: runner, onFailure: onFailure)
    self.lossRows = lossRows
    self.expertRows = expertRows
  }

  package static var fastestPrecision: ElementType { Runner.fastestPrecision }

  /// - Throws: `ProgramEngineError` for an adapter with dropout and for several processes; what reading a base throws.
  package func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine {
    var adapter: LoRAConfiguration?
    var table = model.trained.table
    if case .adapter(let lora, let baseTable, _) = model { (adapter, table) = (lora.configuration, baseTable) }
    try check(adapter, settings)
    let description = programModel(
      model.configuration, table: table, trained: model.trained.table, adapter, settings)
    return try ProgramTrainingEngine(model, description, settings, device)
  }

  private func check(_ lora: LoRAConfiguration?, _ settings: EngineSettings) throws(ProgramEngineError) {
    guard settings.ranks == 1 else { throw .ranks(settings.ranks) }
    guard lora.map({ $0.dropout == 0 }) ?? true else { throw .dropout }
  }

  private func programModel(
    _ configuration: ModelConfiguration, table: ParameterTable, trained: ParameterTable, _ adapter: LoRAConfiguration?,
    _ settings: EngineSettings
  ) -> ProgramModel {
    var shape = configuration
    if let scaling = settings.rotaryScaling { shape.rotaryScaling = scaling }
    return ProgramModel(
      shape: shape, table: table, trained: trained, adapter: adapter, precision: TensorElement(settings.precision),
      recomputes: settings.recomputesActivations, lossRows: lossRows, expertRows: expertRows)
  }

  /// Where programs run in the host's memory: the tensors that the largest keeps at a time, before a compiler merges any, and
  /// the moments. Elsewhere twice the weights, which go there and come back.
  ///
  /// - Throws: `ProgramEngineError`, before a run is begun that cannot be.
  package func memoryBytes(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> Int {
    try check(lora, settings)
    let table = try ParameterTable(configuration)
    let trained = lora.map { ParameterTable($0, configuration) } ?? table
    guard device.runner.usesHostMemory else { return 2 * 4 * (table.totalCount + trained.totalCount) }
    let model = programModel(configuration, table: table, trained: trained, lora, settings)
    let programs = ModelPrograms(model: model)
    let pass = PassShape(
      tokens: settings.maximumTokens,
      longestDocument: min(settings.maximumTokens, configuration.maximumSequenceLength),
      maximumTokens: settings.maximumTokens)
    guard let optimizer = settings.optimizer else { return programs.losses(pass).peakBytes }
    let moments = 4 * (trained.entries + ModelPrograms.withSecondMoment(trained, optimizer)).reduce(0) { $0 + $1.count }
    return max(programs.gradients(pass).peakBytes + moments, programs.step(optimizer).peakBytes)
  }
}
