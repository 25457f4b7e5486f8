import Model
import Foundation
import Machine
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
  /// `TrainingPlan.startModelHash`.
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
    let text = String(decoding: try MappedFile.contents(of: path), as: UTF8.self)
    guard let json = try? JSON(parsing: text).addingLaterOptions().compactText,
      let record = try? JSONDecoder().decode(RunRecord.self, from: Data(json.utf8)),
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
    "\(Processor.name), \(Processor.coreCount) cores, \(MachineMemory.totalBytes >> 30) GiB"
  }
}

extension JSON {
  /// Options that records of earlier versions do not have, with what those versions did.
  private static let laterOptions: [(key: TrainingSettings.CodingKeys, value: JSON)] = [
    (.optimizer, .string(OptimizerKind.adamW.rawValue)), (.recomputeActivations, .bool(false)),
  ]

  /// A record with the options that are missing because its run is older than they are.
  fileprivate func addingLaterOptions() -> JSON {
    guard case .object(var members) = self, let place = members.firstIndex(where: { $0.key == "options" }),
      case .object(let options) = members[place].value
    else { return self }
    let missing = Self.laterOptions.filter { later in !options.contains { $0.key == later.key.rawValue } }
    members[place].value = .object(options + missing.map { Member($0.key.rawValue, $0.value) })
    return .object(members)
  }
}
