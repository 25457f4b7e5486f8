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
      .compactMap(Metric.line)
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
  package func values(_ metric: Metric, _ side: Metric.Side = .train) -> [(step: Int, value: Double)] {
    lines.compactMap { line in
      guard let step = line[Metric.step.key]?.integerValue, let value = line[metric.key(side)]?.doubleValue else {
        return nil
      }
      return (step, value)
    }
  }

  /// The one number that stands for the run, by `Metric.summary`; the last one where there is no such rule, and of
  /// evaluations. The summary at the end of a run shows the same.
  package func value(_ metric: Metric, _ side: Metric.Side = .train) -> Double? {
    let values = values(metric, side).map(\.value)
    guard side == .train, !values.isEmpty else { return values.last }
    switch metric.summary {
    case .last, nil: return values.last
    case .smoothed: return SmoothedLoss(values).value
    case .median: return values.sorted()[values.count / 2]
    case .largest: return values.max()
    }
  }

  /// The value that is better than all others, and its step; nil also where neither direction is.
  package func best(_ metric: Metric, _ side: Metric.Side) -> (step: Int, value: Double)? {
    guard let smallerIsBetter = metric.smallerIsBetter else { return nil }
    return values(metric, side).min { smallerIsBetter ? $0.value < $1.value : $0.value > $1.value }
  }

  /// The last step that was done.
  package var step: Int { lines.reduce(0) { max($0, $1[Metric.step.key]?.integerValue ?? 0) } }

  package var state: State {
    if DirectoryLock.isHeld(path) { return .running }
    return step >= record.totalSteps ? .complete : .stopped
  }

  package enum State: String, Sendable { case running, complete, stopped }
}
