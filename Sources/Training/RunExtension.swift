import Corpus
import Foundation
import Storage

/// A greater length that a run was given after it had begun. From there on it has a schedule of its own, warm-up included.
package struct RunExtension: Equatable, Sendable {
  /// Steps that were done.
  package var fromStep: Int
  /// When, in the form of ISO 8601.
  package var time: String
  package var previousTotalSteps: Int
  package var totalSteps: Int
  /// The settings of length and schedule until then.
  package var previousOptions: TrainingSettings
  /// Those from then on.
  package var options: TrainingSettings

  /// One member a property, in the order of their names.
  var json: JSON {
    .object([
      .init("fromStep", .integer(fromStep)), .init("options", options.json),
      .init("previousOptions", previousOptions.json), .init("previousTotalSteps", .integer(previousTotalSteps)),
      .init("time", .string(time)), .init("totalSteps", .integer(totalSteps)),
    ])
  }
}

extension RunExtension {
  /// - Throws: `SettingProblem` for an option that the stage does not have.
  /// - Returns: nil for what is no extension.
  init?(json: JSON, of stage: Stage) throws(SettingProblem) {
    guard let fromStep = json["fromStep"]?.integerValue, let totalSteps = json["totalSteps"]?.integerValue,
      let previousTotalSteps = json["previousTotalSteps"]?.integerValue, let time = json["time"]?.stringValue,
      let options = json["options"], let previousOptions = json["previousOptions"], fromStep >= 0,
      fromStep < totalSteps, fromStep <= previousTotalSteps
    else { return nil }
    (self.fromStep, self.time) = (fromStep, time)
    (self.previousTotalSteps, self.totalSteps) = (previousTotalSteps, totalSteps)
    self.previousOptions = try TrainingSettings(partOf: previousOptions, stage)
    self.options = try TrainingSettings(partOf: options, stage)
  }
}

/// How far a run is when it is planned.
struct RunProgress {
  var step = 0
  var position = BatchPosition()
  /// The step after which its schedule begins.
  var scheduleStart = 0
}

extension RunRecord {
  /// This record of a run that is extended after `step`, with the length and the schedule of `settings`.
  ///
  /// What was extended at that step or later has no step left, and goes.
  func extended(after step: Int, to settings: ResolvedSettings, _ stage: Stage) -> RunRecord {
    var record = self
    let replaced = extensions.first { $0.fromStep >= step }
    record.extensions.removeAll { $0.fromStep >= step }
    record.options = options.replacingSchedule(by: settings.recorded, of: stage)
    record.totalSteps = settings.totalSteps
    record.extensions.append(
      RunExtension(
        fromStep: step, time: Date().ISO8601Format(),
        previousTotalSteps: replaced?.previousTotalSteps ?? totalSteps, totalSteps: settings.totalSteps,
        previousOptions: replaced?.previousOptions ?? options.scheduleSettings(of: stage),
        options: record.options.scheduleSettings(of: stage)))
    return record
  }
}
