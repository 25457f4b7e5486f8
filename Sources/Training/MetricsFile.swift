import Foundation
import Storage

/// `metrics.jsonl`: one JSON object a line, one line a step and one an evaluation, as `TrainingEvent.metrics` names it all.
/// `train/global_step` counts optimizer steps and never goes back.
package final class MetricsFile: MetricsSink {
  /// The losses of the file, for the plot.
  package private(set) var history = LossHistory()
  private let file: GrowingFile

  /// Opens the file for more lines. Those of steps after `step` are removed: the run is about to repeat them.
  package init(_ path: String, resumingAfter step: Int) throws {
    var kept: [Substring] = []
    for line in try GrowingFile.text(of: path).split(separator: "\n", omittingEmptySubsequences: true) {
      // A line that a crash cut short is the last one, and of a step that comes again.
      guard let object = try? JSON(parsing: String(line)), let number = object[MetricNames.step]?.integerValue,
        number <= step
      else { break }
      kept.append(line)
      if let loss = object[MetricNames.loss]?.doubleValue { history.training.append((number, loss)) }
      if let loss = object[MetricNames.heldOutLoss]?.doubleValue { history.heldOut.append((number, loss)) }
    }
    file = try GrowingFile(path, replacingBy: kept.map { $0 + "\n" }.joined())
  }

  package func record(_ event: TrainingEvent) throws {
    guard let (step, values) = event.metrics else { return }
    switch event {
    case .step(let report): if let loss = report.loss { history.training.append((step, loss)) }
    case .evaluation(let evaluation, _): history.heldOut.append((step, evaluation.loss))
    case .checkpoint, .samples, .readingReference: break
    }
    let members = [JSON.Member(MetricNames.step, .integer(step))] + values.map { JSON.Member($0.name, $0.value) }
    try file.write(JSON.object(members).compactText + "\n")
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
