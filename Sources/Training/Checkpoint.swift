import Foundation
import Model
import ModelFiles
import Processes
import Storage

/// A moment of a run on the disk, from which it goes on to the bit:
///
///     model/                 a Hugging Face model directory, or an adapter's; weights in fp32
///     optimizer.safetensors  `KEY.first_moment` of each weight and `KEY.second_moment` of those that AdamW moves, fp32
///     value-head.safetensors `ValueHead`, of a stage that learns values
///     state.json             `TrainingState`
///
/// The directory appears whole or not at all.
package enum Checkpoint {
  static let optimizerFile = "optimizer.safetensors"
  static let stateFile = "state.json"

  /// The most bytes that `checkpoints` checkpoints of `parameterCount` trained values take, with room for the small
  /// files.
  static func byteCount(parameterCount: Int, checkpoints: Int = 1) -> Int {
    parameterCount * 12 * checkpoints + 16 << 20
  }

  /// Writes a checkpoint at `path`, in the first rank; the others give it their moments (`sendMoments`).
  ///
  /// - Parameter model: what `engine` was made from, with its weights as they are now.
  /// - Throws: `FileError` when the disk does not have room (found before anything is written) or cannot be written.
  static func save(
    _ path: String, model: TrainableModel, engine: any TrainingEngine, _ valueHead: ValueHead?, state: TrainingState,
    tokenizerDirectory: String, exchange: ProcessExchange
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
        tensors: moments(of: engine).map {
          SafetensorsWriter.Plan(name: $0.name, type: .float32, shape: $0.entry.shape)
        })
      for moment in moments(of: engine) {
        try collect(moment, of: engine, exchange).withUnsafeBufferPointer { try writer.append($0) }
      }
      try writer.commit()
      try valueHead?.save(to: directory)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try AtomicFile.write(Array(try encoder.encode(state)), to: directory + "/" + stateFile)
    }
  }

  /// What the other ranks do while the first one saves.
  static func sendMoments(_ engine: any TrainingEngine, exchange: ProcessExchange) {
    for moment in moments(of: engine) { _ = collect(moment, of: engine, exchange) }
  }

  /// Reads the rank's moments into `engine` and returns the state; the weights are in the model directory beside them.
  ///
  /// - Parameter totalSteps: of the run.
  /// - Throws: `FileError`, `ModelFileError` or `TrainingError`, each naming the file.
  static func load(
    _ path: String, into engine: any TrainingEngine, _ valueHead: ValueHead?, totalSteps: Int
  ) throws -> TrainingState {
    let file = try SafetensorsFile(path + "/" + optimizerFile)
    for moment in moments(of: engine) {
      let entry = moment.entry
      guard let tensor = file.tensor(moment.name), tensor.shape == entry.shape, tensor.type == .float32
      else { throw damaged(file.path, "it has no '\(moment.name)' of the shape \(entry.shape)") }
      let numbers = try file.floats(of: tensor)
      guard numbers.allSatisfy(\.isFinite) else {
        throw damaged(file.path, "it holds values that are not finite numbers")
      }
      engine.write(moment.values, of: entry, numbers)
    }
    try valueHead?.load(from: path)
    return try state(of: path, totalSteps: totalSteps)
  }

  /// The moments of a trained weight, and their name in the file.
  private struct Moment {
    var values: EngineValues
    var entry: ParameterEntry
    var name: String { entry.key + (values == .firstMoment ? ".first_moment" : ".second_moment") }
  }

  private static func moments(of engine: any TrainingEngine) -> [Moment] {
    [EngineValues.firstMoment, .secondMoment].flatMap { values in
      engine.trained.entries.filter { engine.keeps(values, of: $0) }.map { Moment(values: values, entry: $0) }
    }
  }

  /// The moments of a weight; complete in the first rank only.
  private static func collect(
    _ moment: Moment, of engine: any TrainingEngine, _ exchange: ProcessExchange
  ) -> [Float] {
    var numbers = engine.read(moment.values, of: moment.entry)
    guard !exchange.isAlone, let shared = engine as? any SharedTrainingEngine else { return numbers }
    exchange.collect(&numbers, from: shared.owners(of: moment.entry))
    return numbers
  }

  /// - Parameter totalSteps: of the run.
  /// - Throws: `FileError` or `TrainingError`, each naming the file.
  static func state(of path: String, totalSteps: Int) throws -> TrainingState {
    let file = path + "/" + stateFile
    let bytes = try MappedFile.contents(of: file)
    // More than any run reads, and sums with it stay within 64 bits.
    let tokens = 0...1 << 60
    guard let state = try? JSONDecoder().decode(TrainingState.self, from: Data(bytes)),
      (0...totalSteps).contains(state.step), tokens.contains(state.tokens), tokens.contains(state.position.tokens)
    else { throw damaged(file, "it is no state of this run") }
    return state
  }

  static func damaged(_ path: String, _ fault: String) -> TrainingError {
    TrainingError("\(path): \(fault). Remove this checkpoint's directory to resume from the one before it.")
  }
}
