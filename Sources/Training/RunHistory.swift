import Foundation
import Storage

/// What a run's directory says of its past. The run may be going on: it is not held, and a line that is just being written
/// is left out.
package struct RunHistory: Sendable {
  package let path: String
  package let record: RunRecord
  /// The lines of `metrics.jsonl`.
  private let lines: [JSON]

  /// - Throws: `TrainingError` when the directory holds no run, `FileError` when it cannot be read.
  package init(_ path: String) throws {
    guard FileManager.default.fileExists(atPath: path + "/" + RunRecord.fileName) else {
      throw TrainingError("\(path) holds no run (it has no \(RunRecord.fileName)). Give the --output of a training.")
    }
    self.path = path
    record = try RunRecord(directory: path)
    lines = try GrowingFile.text(of: path + "/metrics.jsonl").split(separator: "\n")
      .compactMap { try? JSON(parsing: String($0)) }
  }

  /// The runs in a directory: itself, or those in it, or one level deeper.
  package static func runs(in directory: String) -> [String] {
    func isRun(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path + "/" + RunRecord.fileName) }
    func children(_ path: String) -> [String] {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
      return names.filter { !$0.hasPrefix(".") }.sorted().map { path == "." ? $0 : path + "/" + $0 }
    }
    if isRun(directory) { return [directory] }
    return children(directory).flatMap { isRun($0) ? [$0] : children($0).filter(isRun) }
  }

  /// Every value of a metric with its step.
  package func values(_ name: String) -> [(step: Int, value: Double)] {
    lines.compactMap { line in
      guard let step = line[MetricNames.step]?.integerValue, let value = line[name]?.doubleValue else { return nil }
      return (step, value)
    }
  }

  /// The last step that was done.
  package var step: Int { lines.reduce(0) { max($0, $1[MetricNames.step]?.integerValue ?? 0) } }

  package var state: State {
    if DirectoryLock.isHeld(path) { return .running }
    return step >= record.totalSteps ? .complete : .stopped
  }

  package enum State: String, Sendable { case running, complete, stopped }

  /// The mean of the last steps' losses, of a fortieth of the run but at least ten.
  package var finalLoss: Double? {
    let losses = values(MetricNames.loss).suffix(max(10, record.totalSteps / 40)).map(\.value)
    return losses.isEmpty ? nil : losses.reduce(0, +) / Double(losses.count)
  }

  /// The median over the steps.
  package var tokensPerSecond: Double? {
    let rates = values("train/tokens_per_second").map(\.value).sorted()
    return rates.isEmpty ? nil : rates[rates.count / 2]
  }
}
