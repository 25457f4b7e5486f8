import Model
import Programs

/// What engines of programs do not do.
package enum ProgramEngineError: Error, Equatable, CustomStringConvertible {
  case dropout
  case ranks(Int)

  package var description: String {
    switch self {
    case .dropout: "adapters are trained without dropout on this device. Set the dropout to 0."
    case .ranks(let count): "this device's engine trains in one process, not in \(count)."
    }
  }
}

/// Makes engines whose computation is programs, which `runner` runs.
package struct ProgramEngineProvider<Runner: ProgramRunner>: TrainingEngineProvider {
  private let runner: Runner
  private let lossRows: Int
  private let expertRows: Int

  /// - Parameters:
  ///   - lossRows: rows of logits that are there at a time.
  ///   - expertRows: the most rows that pass an expert's products at a time.
  package init(_ runner: Runner, lossRows: Int = 2048, expertRows: Int = 2048) {
    self.runner = runner
    self.lossRows = lossRows
    self.expertRows = expertRows
  }

  package static var fastestPrecision: ElementType { .float32 }

  /// - Throws: `ProgramEngineError` for an adapter with dropout and for several processes; what reading a base throws.
  package func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine {
    guard settings.ranks == 1 else { throw ProgramEngineError.ranks(settings.ranks) }
    var adapter: LoRAConfiguration?
    var table = model.trained.table
    if case .adapter(let lora, let baseTable, _) = model {
      guard lora.configuration.dropout == 0 else { throw ProgramEngineError.dropout }
      (adapter, table) = (lora.configuration, baseTable)
    }
    let description = programModel(
      model.configuration, table: table, trained: model.trained.table, adapter, settings)
    return try ProgramTrainingEngine(model, description, settings, runner)
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

  /// The tensors that the largest program keeps at a time, and the moments.
  package func memoryBytes(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> Int {
    let table = try ParameterTable(configuration)
    let trained = lora.map { ParameterTable($0, configuration) } ?? table
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
