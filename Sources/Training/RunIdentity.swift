import Foundation
import Processes
import Storage

/// What all processes of a run must have alike, under names for the user: on several machines each finds its own files,
/// and may see what another has written only later.
package struct RunIdentity {
  private var facts: [String: String]

  /// What is known before anything is written.
  package init(_ plan: TrainingPlan) throws {
    // Enough of a digest to compare, and to tell files apart by eye.
    let model = plan.configuration.huggingFaceConfig().compactText + (plan.startModelHash ?? "")
    let modelDigest = Array(model.utf8).withUnsafeBytes { SHA256.hexadecimalDigest($0) }
    facts = [
      "data": Self.short(plan.dataManifestHash), "model": Self.short(modelDigest),
      "number of steps": String(plan.totalSteps), "begin of the schedule": "step \(plan.settings.scheduleStart)",
    ]
    if let teacher = plan.teacher { facts["--teacher"] = Self.short(teacher.contentHash) }
    for setting in plan.stage.settings where !setting.freedom.contains(.betweenProcesses) {
      facts["--" + setting.name] = plan.settings.recorded[setting.name]?.compactText
    }
  }

  /// That, and where the run stands.
  ///
  /// - Parameter weights: SHA-256 of those in training.
  init(_ plan: TrainingPlan, _ state: TrainingState, weights: [UInt8]) throws {
    try self.init(plan)
    let position = state.position
    let place = [position.epoch, position.document, position.offset, position.tokens, state.tokens]
    facts["checkpoint"] = "step \(state.step)"
    facts["place in the data"] = place.map(String.init).joined(separator: ":")
    facts["weights"] = Self.short(SHA256.hexadecimal(weights))
  }

  private static func short(_ digest: String) -> String { String(digest.prefix(16)) }

  /// - Throws: `ProcessError` in all processes when one of them is about to make another run than the first one.
  package func check(_ exchange: ProcessExchange) throws {
    try exchange.requireSame(
      facts, making: "run",
      advice: "Let all machines see the same data, model and checkpoints, give an option that differs on the command "
        + "line, and start again.")
  }
}
