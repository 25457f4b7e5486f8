import Foundation
import ModelFiles
import Storage
import Transformer

/// A moment of a run on the disk, from which it goes on to the bit:
///
///     model/                 a Hugging Face model directory, weights in fp32
///     optimizer.safetensors  `KEY.first_moment` and `KEY.second_moment` of each weight, fp32
///     state.json             `TrainingState`
///
/// The directory appears whole or not at all.
package enum Checkpoint {
  static let optimizerFile = "optimizer.safetensors"
  static let stateFile = "state.json"

  /// Bytes that a checkpoint of such a model takes, with room for the small files.
  package static func byteCount(parameterCount: Int) -> Int { parameterCount * 12 + 16 << 20 }

  /// Writes a checkpoint at `path`.
  ///
  /// - Throws: `FileError` when the disk does not have room (found before anything is written) or cannot be written.
  static func save(
    _ path: String, parameters: Parameters, optimizer: OptimizerState, state: TrainingState, tokenizerDirectory: String
  ) throws {
    let parent = (path as NSString).deletingLastPathComponent
    try createDirectory(parent)
    let needed = byteCount(parameterCount: parameters.configuration.parameterCount)
    if let available = availableDiskBytes(at: parent), available < needed {
      throw FileError(
        "cannot save \(path): it needs \(needed >> 20) MiB and the disk has \(available >> 20) MiB left. "
          + "Free some space, then resume from the last checkpoint.")
    }
    try AtomicDirectory.write(path) { directory in
      try parameters.save(modelDirectory: directory + "/model", tokenizerDirectory: tokenizerDirectory)
      let table = parameters.table
      let writer = try SafetensorsWriter(
        directory + "/" + optimizerFile,
        tensors: moments.flatMap { name in
          table.entries.map { SafetensorsWriter.Plan(name: $0.key + name, type: .float32, shape: $0.shape) }
        })
      for block in [optimizer.firstMoment, optimizer.secondMoment] {
        for entry in table.entries {
          try writer.append(UnsafeBufferPointer(start: block + entry.offset, count: entry.count))
        }
      }
      try writer.commit()
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try AtomicFile.write(Array(try encoder.encode(state)), to: directory + "/" + stateFile)
    }
  }

  private static let moments = [".first_moment", ".second_moment"]

  /// Reads the moments into `optimizer` and returns the state; the weights are in the model directory beside them.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `TrainingError`, each naming the file.
  static func load(_ path: String, into optimizer: OptimizerState) throws -> TrainingState {
    let file = try SafetensorsFile(path + "/" + optimizerFile)
    for (name, block) in zip(moments, [optimizer.firstMoment, optimizer.secondMoment]) {
      for entry in optimizer.table.entries {
        guard let tensor = file.tensor(entry.key + name), tensor.shape == entry.shape, tensor.type == .float32 else {
          throw damaged(file.path, "it has no '\(entry.key + name)' of the shape \(entry.shape)")
        }
        try file.copy(tensor, to: block + entry.offset)
      }
    }
    for block in [optimizer.firstMoment, optimizer.secondMoment] {
      guard TensorConversion.areFinite(block, count: optimizer.table.totalCount) else {
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
