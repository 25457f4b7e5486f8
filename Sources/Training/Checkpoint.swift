import Foundation
import ModelFiles
import Storage
import Transformer

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

  /// Bytes that a checkpoint of so many trained values takes at most, with room for the small files.
  package static func byteCount(parameterCount: Int) -> Int { parameterCount * 12 + 16 << 20 }

  /// Writes a checkpoint at `path`.
  ///
  /// - Throws: `FileError` when the disk does not have room (found before anything is written) or cannot be written.
  static func save(
    _ path: String, model: TrainedModel, optimizer: OptimizerState, state: TrainingState, tokenizerDirectory: String
  ) throws {
    let parent = parentDirectory(of: path)
    try createDirectory(parent)
    let needed = byteCount(parameterCount: model.trained.table.totalCount)
    if let available = availableDiskBytes(at: parent), available < needed {
      throw FileError(
        "cannot save \(path): it needs \(needed >> 20) MiB and the disk has \(available >> 20) MiB left. "
          + "Free some space, then resume from the last checkpoint.")
    }
    try AtomicDirectory.write(path) { directory in
      try model.save(modelDirectory: directory + "/model", tokenizerDirectory: tokenizerDirectory)
      let writer = try SafetensorsWriter(
        directory + "/" + optimizerFile,
        tensors: optimizer.moments.map { SafetensorsWriter.Plan(name: $0.name, type: .float32, shape: $0.shape) })
      for moment in optimizer.moments { try writer.append(UnsafeBufferPointer(moment.values)) }
      try writer.commit()
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try AtomicFile.write(Array(try encoder.encode(state)), to: directory + "/" + stateFile)
    }
  }

  /// Reads the moments into `optimizer` and returns the state; the weights are in the model directory beside them.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `TrainingError`, each naming the file.
  static func load(_ path: String, into optimizer: OptimizerState) throws -> TrainingState {
    let file = try SafetensorsFile(path + "/" + optimizerFile)
    for moment in optimizer.moments {
      guard let tensor = file.tensor(moment.name), tensor.shape == moment.shape, tensor.type == .float32,
        let values = moment.values.baseAddress
      else { throw damaged(file.path, "it has no '\(moment.name)' of the shape \(moment.shape)") }
      try file.copy(tensor, to: values)
      guard TensorConversion.areFinite(values, count: moment.values.count) else {
        throw damaged(file.path, "it holds values that are not finite numbers")
      }
    }
    return try state(of: path)
  }

  static func state(of path: String) throws -> TrainingState {
    let file = path + "/" + stateFile
    let bytes = try MappedFile.contents(of: file)
    guard let state = try? JSONDecoder().decode(TrainingState.self, from: Data(bytes)), state.step >= 0,
      state.tokens >= 0
    else { throw damaged(file, "it is no state of a training run") }
    return state
  }

  private static func damaged(_ path: String, _ fault: String) -> TrainingError {
    TrainingError("\(path): \(fault). Remove this checkpoint's directory to resume from the one before it.")
  }
}
