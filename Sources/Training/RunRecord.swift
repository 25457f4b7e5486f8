import Model
import Foundation
import Machine
import Storage

/// How a run was begun: `training.json`. Written once, and whenever the run is extended; what changes from step to step
/// is in the checkpoints.
package struct RunRecord: Equatable, Sendable {
  package static let fileName = "training.json"
  /// 2 for a run that was extended: an earlier version of this program would give its steps another learning rate.
  package var format: Int { extensions.isEmpty ? 1 : 2 }
  /// The name of the `Stage`.
  package var stage: String
  /// Those of the length and the schedule are as of the last extension.
  package var options: TrainingSettings
  package var totalSteps: Int
  /// In the order of their steps.
  package var extensions: [RunExtension] = []
  package var parameterCount: Int
  /// `TrainingPlan.startModelHash`.
  package var startModelHash: String?
  /// Of the same kind, of the model that this one learns from.
  package var teacherHash: String?
  /// SHA-256 of the data's manifest and of `tokenizer.json`.
  package var dataManifestHash: String
  package var tokenizerHash: String
  package var programVersion: String
  package var machine: String
  /// The device that it was begun on, with the plugin that computes there, where that is not the processor: bits are the same
  /// there alone.
  package var device: String?

  package init(
    stage: String, options: TrainingSettings, totalSteps: Int, parameterCount: Int, startModelHash: String?,
    teacherHash: String? = nil, dataManifestHash: String, tokenizerHash: String, programVersion: String, device: String?
  ) {
    self.stage = stage
    self.options = options
    self.totalSteps = totalSteps
    self.parameterCount = parameterCount
    self.startModelHash = startModelHash
    self.teacherHash = teacherHash
    self.dataManifestHash = dataManifestHash
    self.tokenizerHash = tokenizerHash
    self.programVersion = programVersion
    self.device = device
    machine = Self.machineDescription
  }

  /// One member a property, in the order of their names.
  package var json: JSON {
    let members: [(String, JSON?)] = [
      ("dataManifestHash", .string(dataManifestHash)), ("device", device.map { .string($0) }),
      ("extensions", extensions.isEmpty ? nil : .array(extensions.map(\.json))), ("format", .integer(format)),
      ("machine", .string(machine)),
      ("options", options.json), ("parameterCount", .integer(parameterCount)),
      ("programVersion", .string(programVersion)), ("stage", .string(stage)),
      ("startModelHash", startModelHash.map { .string($0) }),
      ("teacherHash", teacherHash.map { .string($0) }), ("tokenizerHash", .string(tokenizerHash)),
      ("totalSteps", .integer(totalSteps)),
    ]
    return .object(members.compactMap { name, value in value.map { JSON.Member(name, $0) } })
  }

  /// - Throws: `FileError`.
  package func write(to run: RunDirectory) throws {
    try AtomicFile.write(Array((json.text() + "\n").utf8), to: run.path + "/" + Self.fileName)
  }

  /// - Throws: `FileError`, or `TrainingError` that says what is wrong with the record.
  package init(of run: RunDirectory) throws { try self.init(directory: run.path) }

  /// Of a run that is not held, and may be going on.
  ///
  /// - Throws: `FileError`, or `TrainingError` that says what is wrong with the record.
  package init(directory: String) throws {
    let path = directory + "/" + Self.fileName
    let text = String(decoding: try MappedFile.contents(of: path), as: UTF8.self)
    guard let json = try? JSON(parsing: text),
      json["format"]?.integerValue == (json["extensions"]?.arrayValue?.isEmpty == false ? 2 : 1),
      let stage = Stage.all.first(where: { $0.name == json["stage"]?.stringValue }), let options = json["options"],
      let totalSteps = json["totalSteps"]?.integerValue, totalSteps > 0,
      let parameterCount = json["parameterCount"]?.integerValue,
      let dataManifestHash = json["dataManifestHash"]?.stringValue,
      let tokenizerHash = json["tokenizerHash"]?.stringValue,
      let programVersion = json["programVersion"]?.stringValue, let machine = json["machine"]?.stringValue
    else {
      throw TrainingError(
        "\(path) is not the record of a run, or that of another version of this program. Use the version that began the "
          + "run, or begin a new one.")
    }
    do {
      self.options = try TrainingSettings(json: options, of: stage)
      for item in json["extensions"]?.arrayValue ?? [] {
        guard let next = try RunExtension(json: item, of: stage), next.fromStep > extensions.last?.fromStep ?? -1 else {
          throw SettingProblem("extensions holds what is no extension, at place \(extensions.count + 1).")
        }
        extensions.append(next)
      }
      guard extensions.last.map({ $0.totalSteps == totalSteps }) ?? true else {
        throw SettingProblem("totalSteps is not that of the last of extensions.")
      }
    } catch {
      throw TrainingError("\(path): \(error) Correct it, or begin a new run.")
    }
    if let missing = self.options.missingSetting(of: stage) {
      throw TrainingError(
        "\(path) is not the record of a run: it lacks \(missing). Use the version that began the run, or begin a new one."
      )
    }
    self.stage = stage.name
    self.totalSteps = totalSteps
    self.parameterCount = parameterCount
    startModelHash = json["startModelHash"]?.stringValue
    teacherHash = json["teacherHash"]?.stringValue
    self.dataManifestHash = dataManifestHash
    self.tokenizerHash = tokenizerHash
    self.programVersion = programVersion
    self.machine = machine
    device = json["device"]?.stringValue
  }

  /// The processor, its cores and the memory.
  private static var machineDescription: String {
    "\(Processor.name), \(Processor.coreCount) cores, \(formatBytes(MachineMemory.totalBytes))"
  }
}
