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
    return Array(settings.prefix(2)) + paths + Array(settings.dropFirst(2)) + [Option.exchangeTimeout]
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
    func needed(_ option: any OptionDescription) -> UsageError {
      UsageError(
        "\(invocation.command.name) needs --\(option.name) \(option.placeholder), or --resume RUN to go on with a run.")
    }
    for option in settings.prefix(2) where !invocation.isGiven(option) { throw needed(option) }
    guard let output = invocation[output] else { throw needed(self.output) }
    return (changed(TrainingSettings(), by: invocation), output)
  }

  /// `settings` with every option that is given on the command line.
  func changed(_ settings: TrainingSettings, by invocation: Invocation) -> TrainingSettings {
    var changed = settings
    // A resumed run keeps its number, which decides the last bits, unless that is more than the process has cores.
    changed.threads = settings.threads.map { min($0, CoreShare.own.threads) }
    for option in self.settings {
      if let value = invocation[option] { changed[option.name] = value }
    }
    return changed
  }
}
