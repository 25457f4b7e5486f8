import Compute
import Model

/// Makes the engines of this machine's processor, which share one team of threads.
package final class CPUEngineProvider: TrainingEngineProvider {
  private let threads: Int
  package private(set) lazy var team = WorkerTeam(count: threads)

  package init(threads: Int) { self.threads = threads }

  package static var fastestPrecision: ElementType { .fastest }

  package func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine {
    let trained: TrainedModel =
      switch model {
      case .whole(let parameters): .whole(parameters)
      case .adapter(let adapter, let baseTable, let read):
        .adapter(
          adapter, on: try FrozenWeights(adapter.model, baseTable, type: settings.precision, read: read))
      }
    return try CPUTrainingEngine(trained, settings, team: team)
  }

  package func memoryBytes(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> Int {
    let table = if let lora { ParameterTable(lora, configuration) } else { try ParameterTable(configuration) }
    let passBytes = TrainingPass.memoryBytes(
      configuration, precision: settings.precision, maximumTokens: settings.maximumTokens, workers: threads,
      trains: settings.optimizer != nil, recomputes: settings.recomputesActivations, lora: lora,
      learning: settings.learning)
    let learned = table.learned(configuration, settings.learning)
    let optimizerBytes = settings.optimizer.map {
      Optimizer.byteCount(learned, $0, precision: settings.precision, workers: threads, ranks: settings.ranks)
    }
    let weightCount = lora?.parameterCount(configuration) ?? configuration.parameterCount
    let teacherBytes = try settings.teaching.map {
      try memoryBytes($0.configuration, lora: nil, settings.withoutTraining)
    }
    return passBytes + weightCount * 4 + (optimizerBytes ?? 0) + (teacherBytes ?? 0) + MatrixProducts.codeBytes
  }
}
