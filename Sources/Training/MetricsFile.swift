import Foundation
import Storage

/// `metrics.jsonl`: one JSON object a line, one line a step and one an evaluation, under the names of `Metric`.
package final class MetricsFile: MetricsSink {
  /// The losses of the file, for the plot.
  package private(set) var history = LossHistory()
  /// The largest of all lines, those of earlier sessions included.
  package private(set) var peakMemoryBytes = 0
  private let file: GrowingFile

  /// Opens the file for more lines. Those of steps after `step` are removed: the run is about to repeat them.
  package init(_ path: String, resumingAfter step: Int) throws {
    var kept: [Substring] = []
    for line in try GrowingFile.text(of: path).split(separator: "\n", omittingEmptySubsequences: true) {
      // A line that a crash cut short is the last one, and of a step that comes again.
      guard let object = Metric.line(line), let number = object[Metric.step.key]?.integerValue, number <= step
      else { break }
      kept.append(line)
      if let loss = object[Metric.loss.key]?.doubleValue { history.training.append((number, loss)) }
      if let loss = object[Metric.loss.key(.eval)]?.doubleValue { history.heldOut.append((number, loss)) }
      // The file may say anything.
      if let peak = object[Metric.peakMemory.key]?.doubleValue, (0...1e18).contains(peak) {
        peakMemoryBytes = max(peakMemoryBytes, Int(peak))
      }
    }
    file = try GrowingFile(path, replacingBy: kept.map { $0 + "\n" }.joined())
  }

  package func record(_ event: TrainingEvent) throws {
    guard let line = event.metricsLine else { return }
    switch event {
    case .step(let report):
      if let loss = report.loss { history.training.append((report.step, loss)) }
      peakMemoryBytes = max(peakMemoryBytes, report.peakMemoryBytes)
    case .evaluation(let evaluation, _): history.heldOut.append((evaluation.step, evaluation.loss))
    case .checkpoint, .samples, .preparing: break
    }
    try file.write(line + "\n")
  }

  /// Flushes to the disk, before a checkpoint says that the lines are there.
  package func synchronize() throws { try file.synchronize() }
}

/// `samples.txt`: what the model made of each prompt, step after step.
package final class SamplesFile: MetricsSink {
  private let path: String
  private var file: GrowingFile?
  private let step: Int

  /// The file appears with the first sample. Samples of steps after `step` are removed.
  package init(_ path: String, resumingAfter step: Int) throws {
    self.path = path
    self.step = step
    if FileManager.default.fileExists(atPath: path) { file = try open() }
  }

  private static let heading = "=== step "

  private func open() throws -> GrowingFile {
    var kept = ""
    for line in try GrowingFile.text(of: path).split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix(Self.heading), let number = Int(line.dropFirst(Self.heading.count)), number > step { break }
      kept += line + "\n"
    }
    while kept.hasSuffix("\n\n") { kept.removeLast() }
    return try GrowingFile(path, replacingBy: kept == "\n" ? "" : kept)
  }

  package func record(_ event: TrainingEvent) throws {
    guard case .samples(let report) = event else { return }
    let file = try file ?? open()
    self.file = file
    let samples = report.samples.map { "> \($0.prompt)\n\($0.continuation)\n" }
    try file.write("\(Self.heading)\(report.step)\n" + samples.joined(separator: "\n") + "\n")
  }
}
