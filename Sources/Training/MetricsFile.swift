import Foundation
import ModelFiles
import Storage

/// `metrics.jsonl`: one JSON object a line, one line a step and one an evaluation, by the names that training tools share.
/// `train/global_step` counts optimizer steps and never goes back. `train/loss` is the cross-entropy alone; for a mixture
/// of experts `train/aux_loss` stands beside it, and `train/expert_…` say how the experts were used (`ExpertReport`).
package final class MetricsFile: MetricsSink {
  /// The losses of the file, for the plot.
  package private(set) var history = LossHistory()
  private let file: LineFile

  /// Opens the file for more lines. Those of steps after `step` are removed: the run is about to repeat them.
  package init(_ path: String, resumingAfter step: Int) throws {
    var kept: [Substring] = []
    for line in try LineFile.text(of: path).split(separator: "\n", omittingEmptySubsequences: true) {
      // A line that a crash cut short is the last one, and of a step that comes again.
      guard let object = try? JSON(parsing: String(line)), let number = object[Key.step]?.integerValue, number <= step
      else { break }
      kept.append(line)
      if let loss = object[Key.loss]?.doubleValue { history.training.append((number, loss)) }
      if let loss = object[Key.heldOutLoss]?.doubleValue { history.heldOut.append((number, loss)) }
    }
    file = try LineFile(path, replacingBy: kept.map { $0 + "\n" }.joined())
  }

  private enum Key {
    static let step = "train/global_step"
    static let loss = "train/loss"
    static let heldOutLoss = "eval/loss"
  }

  package func record(_ event: TrainingEvent) throws {
    var members: [(String, JSON)]
    switch event {
    case .step(let report):
      members = [(Key.step, .integer(report.step)), ("train/epoch", .number(report.epoch))]
      if let loss = report.loss {
        members.append((Key.loss, .number(loss)))
        history.training.append((report.step, loss))
      }
      if let experts = report.experts {
        members += [
          ("train/aux_loss", .number(experts.balanceLoss)), ("train/expert_max_share", .number(experts.largestShare)),
          ("train/expert_entropy", .number(experts.entropy)),
          ("train/expert_shares", .array(experts.shares.map { .array($0.map(JSON.number)) })),
        ]
      }
      members += [
        ("train/learning_rate", .number(report.learningRate)), ("train/grad_norm", .number(report.gradientNorm)),
        ("train/tokens", .integer(report.tokens)), ("train/tokens_per_second", .number(report.tokensPerSecond)),
        ("train/peak_memory_gb", .number(Double(report.peakMemoryBytes) / 1e9)),
      ]
      members += Self.members(report.preference, prefix: "train/")
    case .evaluation(let evaluation, let epoch):
      members = [
        (Key.step, .integer(evaluation.step)), ("train/epoch", .number(epoch)),
        (Key.heldOutLoss, .number(evaluation.loss)),
      ]
      if let bitsPerByte = evaluation.bitsPerByte {
        members += [("eval/perplexity", .number(exp(evaluation.loss))), ("eval/bpb", .number(bitsPerByte))]
      }
      members += Self.members(evaluation.preference, prefix: "eval/")
      history.heldOut.append((evaluation.step, evaluation.loss))
    case .checkpoint, .samples, .readingReference: return
    }
    try file.write(JSON.object(members.map { JSON.Member($0.0, $0.1) }).compactText + "\n")
  }

  private static func members(_ metrics: PreferenceMetrics?, prefix: String) -> [(String, JSON)] {
    metrics?.means.map { (prefix + $0.name, .number($0.value)) } ?? []
  }

  /// Flushes to the disk, before a checkpoint says that the lines are there.
  package func synchronize() throws { try file.synchronize() }
}

/// `samples.txt`: what the model made of each prompt, step after step.
package final class SamplesFile: MetricsSink {
  private let path: String
  private var file: LineFile?
  private let step: Int

  /// The file appears with the first sample. Samples of steps after `step` are removed.
  package init(_ path: String, resumingAfter step: Int) throws {
    self.path = path
    self.step = step
    if FileManager.default.fileExists(atPath: path) { file = try open() }
  }

  private static let heading = "=== step "

  private func open() throws -> LineFile {
    var kept = ""
    for line in try LineFile.text(of: path).split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix(Self.heading), let number = Int(line.dropFirst(Self.heading.count)), number > step { break }
      kept += line + "\n"
    }
    while kept.hasSuffix("\n\n") { kept.removeLast() }
    return try LineFile(path, replacingBy: kept == "\n" ? "" : kept)
  }

  package func record(_ event: TrainingEvent) throws {
    guard case .samples(let report) = event else { return }
    let file = try file ?? open()
    self.file = file
    let samples = report.samples.map { "> \($0.prompt)\n\($0.continuation)\n" }
    try file.write("\(Self.heading)\(report.step)\n" + samples.joined(separator: "\n") + "\n")
  }
}

/// A text file that grows by whole lines.
private final class LineFile {
  private let path: String
  private let descriptor: Int32

  init(_ path: String, replacingBy text: String) throws {
    self.path = path
    try AtomicFile.write(text, to: path)
    descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot write", path, errno: errno) }
  }

  deinit { close(descriptor) }

  static func text(of path: String) throws -> String {
    guard FileManager.default.fileExists(atPath: path) else { return "" }
    return String(decoding: try MappedFile.contents(of: path), as: UTF8.self)
  }

  func write(_ text: String) throws {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError("cannot write", path, errno: errno)
      }
      bytes = bytes.dropFirst(count)
    }
  }

  func synchronize() throws {
    guard fsync(descriptor) == 0 else { throw FileError("cannot write", path, errno: errno) }
  }
}
