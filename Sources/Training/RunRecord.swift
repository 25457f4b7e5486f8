import Compute
import Foundation
import Storage

/// How a run was begun: `training.json`. Written once; what changes is in the checkpoints.
package struct RunRecord: Codable, Equatable, Sendable {
  package static let fileName = "training.json"
  private static let currentFormat = 1

  package var format = RunRecord.currentFormat
  /// The name of the `Stage`.
  package var stage: String
  package var options: TrainingSettings
  package var totalSteps: Int
  package var parameterCount: Int
  /// `ModelWeights.contentHash` of the model that the run began with; nil where it began with random weights.
  package var startModelHash: String?
  /// SHA-256 of the data's manifest and of `tokenizer.json`.
  package var dataManifestHash: String
  package var tokenizerHash: String
  package var programVersion: String
  package var machine: String

  package init(
    stage: String, options: TrainingSettings, totalSteps: Int, parameterCount: Int, startModelHash: String?,
    dataManifestHash: String, tokenizerHash: String, programVersion: String
  ) {
    self.stage = stage
    self.options = options
    self.totalSteps = totalSteps
    self.parameterCount = parameterCount
    self.startModelHash = startModelHash
    self.dataManifestHash = dataManifestHash
    self.tokenizerHash = tokenizerHash
    self.programVersion = programVersion
    machine = Self.machineDescription
  }

  package func write(to run: RunDirectory) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try AtomicFile.write(Array(try encoder.encode(self)) + Array("\n".utf8), to: run.path + "/" + Self.fileName)
  }

  package init(of run: RunDirectory) throws { try self.init(directory: run.path) }

  /// Of a run that is not held, and may be going on.
  package init(directory: String) throws {
    let path = directory + "/" + Self.fileName
    let bytes = try MappedFile.contents(of: path)
    guard let record = try? JSONDecoder().decode(RunRecord.self, from: Data(bytes)),
      record.format == Self.currentFormat, record.totalSteps > 0
    else {
      throw TrainingError(
        "\(path) is not the record of a run, or that of another version of this program. Use the version that began the "
          + "run, or begin a new one.")
    }
    self = record
  }

  /// The processor, its cores and the memory.
  private static var machineDescription: String {
    "\(Machine.processorName), \(Machine.coreCount) cores, \(Machine.memoryBytes >> 30) GiB"
  }
}
