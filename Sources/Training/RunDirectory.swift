import Foundation
import Storage

/// The directory of one training run, held by this process alone or by the first of those that train together:
///
///     model/               the newest checkpoint's model
///     checkpoints/step-N/  `Checkpoint`; `best` leads to the one with the lowest held-out loss (`AtomicLink`)
///     training.json        `RunRecord`
///     metrics.jsonl  samples.txt  loss.svg
///     tensorboard/         event files, with `--tensorboard`
///     wandb-id  wandb/     the run's name at Weights & Biases and what its package keeps, with `--wandb`
///     reference.json       `ReferenceLogProbabilities`, where the stage compares with its starting model
package final class RunDirectory {
  package let path: String
  /// Nil in the other ranks, which read only.
  private let lock: DirectoryLock?

  package var modelPath: String { path + "/model" }
  package var metricsPath: String { path + "/metrics.jsonl" }
  package var samplesPath: String { path + "/samples.txt" }
  package var tensorBoardPath: String { path + "/tensorboard" }
  package var plotPath: String { path + "/loss.svg" }
  private var checkpointsPath: String { path + "/checkpoints" }

  package func checkpointPath(_ step: Int) -> String { "\(checkpointsPath)/step-\(step)" }

  /// A new run's directory. It may exist if it is empty.
  ///
  /// - Throws: `TrainingError` when something is in it, `FileError` when it cannot be made or another process has it.
  package init(creating path: String) throws {
    self.path = withoutTrailingSlashes(path)
    lock = try Self.lockForNewRun(self.path)
  }

  /// The directory of a run that is to go on. What an interrupted write has left is removed, what it has moved aside is
  /// put back.
  package init(resuming path: String) throws {
    self.path = withoutTrailingSlashes(path)
    guard FileManager.default.fileExists(atPath: self.path + "/" + RunRecord.fileName) else {
      throw TrainingError(
        "\(path) holds no run to resume (it has no \(RunRecord.fileName)). Check the path, or begin one with --output.")
    }
    lock = try DirectoryLock(self.path)
    for directory in [self.path, checkpointsPath] {
      for name in Self.names(in: directory) where name.contains(".partial-") {
        let leftover = directory + "/" + name
        if let replaced = AtomicDirectory.replacedPath(ofEntry: leftover) {
          AtomicDirectory.finishReplacement(of: replaced)
        } else {
          try? FileManager.default.removeItem(atPath: leftover)
        }
      }
    }
  }

  /// The directory that another process of the same run holds.
  package init(following path: String) { (self.path, lock) = (withoutTrailingSlashes(path), nil) }

  /// Tells early, before any work, that a directory cannot take a new run.
  package static func checkIsFree(_ path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else { return }
    _ = try lockForNewRun(path)
  }

  private static func lockForNewRun(_ path: String) throws -> DirectoryLock {
    // Looked at before there is a lock file, which would stay in a directory that is refused…
    if !FileManager.default.fileExists(atPath: path + "/.lock") { try refuseContent(of: path) }
    let lock = try DirectoryLock(path)
    // … and under the lock: another run may have come and gone meanwhile.
    try refuseContent(of: path)
    return lock
  }

  private static func refuseContent(of path: String) throws(TrainingError) {
    let names = names(in: path).filter { $0 != ".lock" }
    if names.contains(RunRecord.fileName) {
      throw TrainingError(
        "\(path) holds a training run already. Go on with it by --resume \(path), or choose another --output.")
    }
    guard names.isEmpty else {
      throw TrainingError("\(path) is not empty. Choose another --output, which will be created.")
    }
  }

  private static func names(in directory: String) -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
  }

  /// The steps that have a checkpoint, in order.
  package var checkpointSteps: [Int] {
    Self.names(in: checkpointsPath).compactMap { name in
      name.hasPrefix("step-") ? Int(name.dropFirst("step-".count)) : nil
    }.sorted()
  }

  /// Lets `model/` be the model of a checkpoint. Files are shared where the file system has hard links, so this takes no
  /// space there.
  func publishModel(ofCheckpoint step: Int) throws {
    try AtomicDirectory.write(modelPath) { try linkOrCopy(contentsOf: checkpointPath(step) + "/model", to: $0) }
  }

  /// Lets `checkpoints/best` lead to a checkpoint, if that is there.
  func markBest(_ step: Int) throws {
    guard checkpointSteps.contains(step) else { return }
    try AtomicLink.write("step-\(step)", at: checkpointsPath + "/best")
  }

  /// Removes all checkpoints but the newest `count` and the best.
  func prune(keeping count: Int, best: Int?) throws {
    for step in checkpointSteps.dropLast(count) where step != best {
      try AtomicDirectory.remove(checkpointPath(step))
    }
  }
}
