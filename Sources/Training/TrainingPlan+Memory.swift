import Foundation
import Machine
import Model
import Storage

/// What a run will take of memory and disk.
extension TrainingPlan {
  /// What the program and its libraries take, except the engine's: measured.
  static let programBytes = 38 << 20

  /// Bytes that the run will hold in the first of `processes` processes: pass, weights, optimizer, and the tokens that
  /// are mapped.
  package func memoryBytes(_ engines: any TrainingEngineProvider, processes: Int = 1) throws -> Int {
    try engines.memoryBytes(configuration, lora: settings.lora, engineSettings(ranks: processes))
      + referenceBytes(engines)
      + dataset.training.tokenCount * 2 + Self.programBytes
  }

  /// Bytes of the model at the start, where a run that learns from its own answers has it in memory.
  private func referenceBytes(_ engines: any TrainingEngineProvider) throws -> Int {
    guard keepsReference else { return 0 }
    return try engines.memoryBytes(configuration, lora: nil, engineSettings().withoutTraining)
  }

  private var keepsReference: Bool { !stage.readsDocuments && settings.divergence > 0 }

  /// The settings of the run's engine in process `rank` of `ranks`.
  func engineSettings(rank: Int = 0, ranks: Int = 1) -> EngineSettings {
    var engine = EngineSettings(
      precision: settings.precision, maximumTokens: microBatchTokens, longestDocument: sequenceLength,
      recomputesActivations: settings.recomputeActivations, optimizer: settings.optimizer,
      seed: UInt64(truncatingIfNeeded: settings.seed), learning: settings.learning, rank: rank, ranks: ranks)
    engine.teaching = teacher.map { Teaching(Distillation(settings.recorded), $0.configuration) }
    return engine
  }

  /// What each process of the run will hold in the memory of its devices; nil where that is the machine's.
  package func deviceMemory(_ engines: any TrainingEngineProvider, processes: Int = 1) throws -> DeviceMemory? {
    let own = try engines.deviceMemory(configuration, lora: settings.lora, engineSettings(ranks: processes))
    guard keepsReference, let own,
      let reference = try engines.deviceMemory(configuration, lora: nil, engineSettings().withoutTraining)
    else { return own }
    return own.beside(reference)
  }

  /// - Parameters:
  ///   - samplingBytes: what `--sample-prompt` takes in addition.
  ///   - localProcesses: how many of the run's processes share this machine's memory.
  /// - Throws: `TrainingError` when the machine has less memory left than the run needs, or the device less than it has.
  package func checkMemory(
    _ engines: any TrainingEngineProvider, samplingBytes: Int = 0, processes: Int = 1, localProcesses: Int = 1,
    availableBytes: Int? = MachineMemory.availableBytes
  ) throws {
    let neededBytes = try memoryBytes(engines, processes: processes) * localProcesses + samplingBytes
    if let device = try deviceMemory(engines, processes: processes), let available = device.availableBytes,
      device.neededBytes > available
    {
      throw TrainingError(
        "this run needs about \(formatBytes(device.neededBytes)) of the device's memory, "
          + "\(formatBytes(device.neededBytes - available)) more than the \(formatBytes(available)) that it lets programs "
          + "have; weights and optimizer alone are \(formatBytes(device.keptBytes)). "
          + "Lower --micro-batch-tokens (\(microBatchTokens)), "
          + (settings.recomputeActivations ? "" : "give --recompute-activations, ") + "or choose a smaller model.")
    }
    guard let availableBytes, neededBytes > availableBytes else { return }
    throw TrainingError(
      "this run needs about \(formatBytes(neededBytes)) of memory, \(formatBytes(neededBytes - availableBytes)) more "
        + "than the \(formatBytes(availableBytes)) that are available. "
        + "Lower --micro-batch-tokens (\(microBatchTokens)) or choose a smaller model.")
  }

  /// - Parameters:
  ///   - output: the run's directory, which may not exist yet.
  ///   - checkpointCount: how many are there already.
  /// - Throws: `TrainingError` when the disk has not even room for the checkpoints that are kept and the one that is
  ///   written before the oldest goes.
  package func checkDisk(_ output: String, checkpointCount: Int = 0) throws(TrainingError) {
    let saves = (totalSteps + checkpointInterval - 1) / checkpointInterval
    let count = min(settings.keepCheckpoints + 1, saves) - checkpointCount
    var directory = output
    while !FileManager.default.fileExists(atPath: directory), parentDirectory(of: directory) != directory {
      directory = parentDirectory(of: directory)
    }
    guard count > 0, let availableBytes = availableDiskBytes(at: directory) else { return }
    // Where `model` cannot share the checkpoint's files, there are two of it while one is replaced.
    let copies = canLinkFiles(in: directory) ? 0 : 2
    let neededBytes =
      Checkpoint.byteCount(parameterCount: trained.totalCount, checkpoints: count) + copies * 4 * trained.totalCount
    guard neededBytes > availableBytes else { return }
    throw TrainingError(
      "the checkpoints of this run need about \(formatBytes(neededBytes)), \(formatBytes(neededBytes - availableBytes)) "
        + "more than the \(formatBytes(availableBytes)) that the disk of \(output) has left. Free some space, or lower --keep-checkpoints (\(settings.keepCheckpoints))."
    )
  }
}
