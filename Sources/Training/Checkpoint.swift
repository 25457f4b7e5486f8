import CPUEngine
import Foundation
import ModelFiles
import Processes
import Storage

/// A moment of a run on the disk, from which it goes on to the bit:
///
///     model/                 a Hugging Face model directory, or an adapter's; weights in fp32
///     optimizer.safetensors  `KEY.first_moment` of each weight and `KEY.second_moment` of those that AdamW moves, fp32
///     state.json             `TrainingState`
///
/// The directory appears whole or not at all.
package enum Checkpoint {
  static let optimizerFile = "optimizer.safetensors"
  static let stateFile = "state.json"

  /// Bytes that checkpoints of so many trained values take at most, with room for the small files.
  static func byteCount(parameterCount: Int, checkpoints: Int = 1) -> Int {
    parameterCount * 12 * checkpoints + 16 << 20
  }

  /// Writes a checkpoint at `path`, in the first rank; the others give it their moments (`sendMoments`).
  ///
  /// - Throws: `FileError` when the disk does not have room (found before anything is written) or cannot be written.
  static func save(
    _ path: String, model: TrainedModel, optimizer: OptimizerState, state: TrainingState, tokenizerDirectory: String,
    exchange: ProcessExchange
  ) throws {
    let parent = parentDirectory(of: path)
    try createDirectory(parent)
    let needed = byteCount(parameterCount: model.trained.table.totalCount)
    if let available = availableDiskBytes(at: parent), available < needed {
      throw FileError(
        "cannot save \(path): it needs \(formatBytes(needed)) and the disk has \(formatBytes(available)) left. "
          + "Free some space, then resume from the last checkpoint.")
    }
    try AtomicDirectory.write(path) { directory in
      try model.save(modelDirectory: directory + "/model", tokenizerDirectory: tokenizerDirectory)
      let writer = try SafetensorsWriter(
        directory + "/" + optimizerFile,
        tensors: optimizer.moments.map { SafetensorsWriter.Plan(name: $0.name, type: .float32, shape: $0.shape) })
      var values: [Float] = []
      for moment in optimizer.moments {
        let count = moment.shape.reduce(1, *)
        if values.count < count { values = [Float](repeating: 0, count: count) }
        try values.withUnsafeMutableBufferPointer {
          exchange.collect(moment.stretches, into: $0.baseAddress)
          try writer.append(UnsafeBufferPointer(rebasing: $0[..<count]))
        }
      }
      try writer.commit()
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try AtomicFile.write(Array(try encoder.encode(state)), to: directory + "/" + stateFile)
    }
  }

  /// What the other ranks do while the first one saves.
  static func sendMoments(_ optimizer: OptimizerState, exchange: ProcessExchange) {
    for moment in optimizer.moments { exchange.collect(moment.stretches, into: nil) }
  }

  /// Reads the rank's moments into `optimizer` and returns the state; the weights are in the model directory beside them.
  ///
  /// - Parameter totalSteps: of the run.
  /// - Throws: `FileError`, `ModelFileError` or `TrainingError`, each naming the file.
  static func load(_ path: String, into optimizer: OptimizerState, totalSteps: Int) throws -> TrainingState {
    let file = try SafetensorsFile(path + "/" + optimizerFile)
    for moment in optimizer.moments {
      guard let tensor = file.tensor(moment.name), tensor.shape == moment.shape, tensor.type == .float32
      else { throw damaged(file.path, "it has no '\(moment.name)' of the shape \(moment.shape)") }
      var bytes = file.bytes(of: tensor)[...]
      for stretch in moment.stretches {
        let own = UnsafeRawBufferPointer(rebasing: bytes.prefix(stretch.count * 4))
        bytes = bytes.dropFirst(own.count)
        guard let values = stretch.values else { continue }
        UnsafeMutableRawBufferPointer(start: values, count: own.count).copyMemory(from: own)
        guard TensorConversion.areFinite(values, count: stretch.count) else {
          throw damaged(file.path, "it holds values that are not finite numbers")
        }
      }
    }
    return try state(of: path, totalSteps: totalSteps)
  }

  private static func state(of path: String, totalSteps: Int) throws -> TrainingState {
    let file = path + "/" + stateFile
    let bytes = try MappedFile.contents(of: file)
    // No run has read so many tokens, and adding to them stays within 64 bits.
    let tokens = 0...1 << 60
    guard let state = try? JSONDecoder().decode(TrainingState.self, from: Data(bytes)),
      (0...totalSteps).contains(state.step), tokens.contains(state.tokens), tokens.contains(state.position.tokens)
    else { throw damaged(file, "it is no state of this run") }
    return state
  }

  private static func damaged(_ path: String, _ fault: String) -> TrainingError {
    TrainingError("\(path): \(fault). Remove this checkpoint's directory to resume from the one before it.")
  }
}
