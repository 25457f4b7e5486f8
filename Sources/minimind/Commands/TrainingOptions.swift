import Compute
import Foundation
import Model
import Processes
import Storage
import Training

/// The options of the commands that train, and the settings that they make.
///
/// Every option is optional to the parser, since `--resume` brings all values from the run; what a new run cannot do
/// without is checked in `newSettings`.
struct TrainingOptions: Sendable {
  private let stage: Stage
  private let output = Option.optional("output", "RUN", help: "Directory of the new run. Required for a new run.")
  private let resume = Option.optional(
    "resume", "RUN", help: "Goes on with a run from its newest checkpoint, with its options; give no --output.")
  /// One for each setting of the stage.
  private let settings: [Option<JSON?>]

  init(_ stage: Stage) {
    self.stage = stage
    settings = stage.settings.map { Option($0, of: stage) }
  }

  var all: [any OptionDescription] {
    // What is trained, and on what, comes first.
    let paths: [any OptionDescription] = [output, resume]
    let first = stage.startSettings.count + 1
    return Array(settings.prefix(first)) + paths + Array(settings.dropFirst(first)) + [Option.exchangeTimeout]
  }

  /// The run to go on with, if any.
  func resumedRun(_ invocation: Invocation) throws -> String? {
    guard let run = invocation[resume] else { return nil }
    guard invocation[output] == nil else {
      throw UsageError("--resume and --output exclude each other; a resumed run stays where it is.")
    }
    return run
  }

  /// The settings and the directory of a new run.
  func newSettings(_ invocation: Invocation) throws -> (settings: TrainingSettings, output: String) {
    func needed(_ options: [any OptionDescription]) -> UsageError {
      let texts = options.map { "--\($0.name) \($0.placeholder)" }
      return UsageError(
        "\(invocation.command.name) needs \(texts.joined(separator: " or ")), or --resume RUN to go on with a run.")
    }
    let starts = Array(settings.prefix(stage.startSettings.count))
    guard starts.contains(where: { invocation.isGiven($0) }) else { throw needed(starts) }
    let data = settings[starts.count]
    guard invocation.isGiven(data) else { throw needed([data]) }
    guard let output = invocation[output] else { throw needed([self.output]) }
    return (changed(TrainingSettings(), by: invocation), output)
  }

  /// `settings` with every option that is given on the command line.
  func changed(_ settings: TrainingSettings, by invocation: Invocation) -> TrainingSettings {
    var kept = settings
    // A resumed run keeps its number, which decides the last bits, unless that is more than the process has cores.
    kept.threads = settings.threads.map { min($0, CoreShare.own.threads) }
    var asked = TrainingSettings()
    for option in self.settings { asked[option.name] = invocation[option] }
    return kept.changed(by: asked)
  }
}
