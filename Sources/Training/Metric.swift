import Foundation
import Storage
import Model

/// A number that runs report, and all that is known of it. Whatever writes metrics, reads or shows them takes names, units
/// and places from here: `metrics.jsonl`, TensorBoard, Weights & Biases, the progress line, `watch` and its page, `runs`,
/// and the table in docs/architecture.md.
package struct Metric: Sendable {
  /// What is measured: the steps of training, or held-out documents.
  package enum Side: String, CaseIterable, Sendable { case train, eval }

  /// How a value is written for people.
  package enum Format: Sendable {
    case decimals(Int), scientific, percent, count, bytes
    /// Rows of numbers, which have a picture of their own.
    case table
  }

  /// Which one number stands for a run's many.
  package enum Summary: Sendable {
    case last
    /// `SmoothedLoss` at the end.
    case smoothed
    case median
    case largest
  }

  /// Without the side: what an objective or an engine calls it in `MetricSums`, and what follows "train/" or "eval/".
  package let name: String
  package let sides: [Side]
  /// "" for a plain number.
  package let unit: String
  package let meaning: String
  /// What people read in text.
  package let label: String
  package let format: Format
  /// The chart of the page that shows it, by the key of its title in watch-words.js.
  package let chart: String?
  /// Whether a chart smooths it.
  package let isNoisy: Bool
  /// Nil where neither is better.
  package let smallerIsBetter: Bool?
  /// Nil for what `runs compare` leaves out.
  package let summary: Summary?
  /// Whether the progress line shows it, after the loss.
  package let isInProgressLine: Bool
  /// Whether `watch --terminal` shows it.
  package let isInWatchText: Bool

  package init(
    _ name: String, _ sides: [Side] = [.train], unit: String = "", label: String = "",
    format: Format = .decimals(4), chart: String? = nil, isNoisy: Bool = true, smallerIsBetter: Bool? = nil,
    summary: Summary? = nil, isInProgressLine: Bool = false, isInWatchText: Bool = false, _ meaning: String
  ) {
    self.name = name
    self.sides = sides
    self.unit = unit
    self.meaning = meaning
    self.label = label.isEmpty ? name : label
    self.format = format
    self.chart = chart
    self.isNoisy = isNoisy
    self.smallerIsBetter = smallerIsBetter
    self.summary = summary
    self.isInProgressLine = isInProgressLine
    self.isInWatchText = isInWatchText
  }

  /// The name in `metrics.jsonl`.
  package func key(_ side: Side) -> String { side.rawValue + "/" + name }
  /// Of training.
  package var key: String { key(.train) }

  /// The metric of that name; one that the table lacks has its name as its label.
  package static func named(_ name: String) -> Metric {
    all.first { $0.name == name } ?? Metric(name, Side.allCases, "")
  }
}

extension Metric {
  package static let step = Metric("global_step", unit: "steps", "optimizer steps done; never goes back")
  package static let epoch = Metric("epoch", unit: "epochs", "passes over the data so far")
  package static let loss = Metric(
    "loss", [.train, .eval], unit: "nats/token, or of a pair", label: "loss", chart: "loss", smallerIsBetter: true,
    summary: .smoothed, isInWatchText: true, "the stage's loss: the mean of a step, or of the held-out documents")
  package static let perplexity = Metric(
    "perplexity", [.eval], label: "perplexity", format: .decimals(2), smallerIsBetter: true, "exp of the loss")
  package static let bitsPerByte = Metric(
    "bpb", [.eval], unit: "bits/byte", label: "bits/byte", chart: "bits", smallerIsBetter: true, summary: .last,
    "the loss by bytes of text: comparable between tokenizers")
  package static let learningRate = Metric(
    "learning_rate", label: "learning rate", format: .scientific, chart: "learningRate", isNoisy: false,
    isInWatchText: true, "the step's learning rate")
  package static let gradientNorm = Metric(
    "grad_norm", label: "gradient norm", format: .decimals(2), chart: "gradientNorm", isInWatchText: true,
    "of the mean loss, before clipping")
  package static let tokens = Metric(
    "tokens", unit: "tokens", label: "tokens", format: .count, summary: .last, "tokens read so far")
  package static let tokensPerSecond = Metric(
    "tokens_per_second", unit: "tokens/s", label: "tokens/s", format: .count, chart: "rate", smallerIsBetter: false,
    summary: .median, isInWatchText: true, "of the step, all processes together")
  package static let peakMemory = Metric(
    "peak_memory_bytes", unit: "bytes", label: "peak memory", format: .bytes, chart: "memory", isNoisy: false,
    smallerIsBetter: true, summary: .largest, isInWatchText: true, "the most memory that the first process has had")

  package static let balanceLoss = Metric(
    ExpertSums.balance, unit: "nats/token", label: "aux", chart: "balance", smallerIsBetter: true,
    isInProgressLine: true, "mixture: α times the balance of the experts, minimised in addition to the loss")
  package static let busiestExpert = Metric(
    "expert_max_share", unit: "share", label: "busiest expert", format: .percent, chart: "busiest",
    smallerIsBetter: true, isInProgressLine: true, isInWatchText: true,
    "mixture: the largest share of a layer's choices that one expert had")
  package static let expertEntropy = Metric(
    "expert_entropy", unit: "share", label: "evenness of the experts", chart: "evenness", smallerIsBetter: false,
    "mixture: 1 where all experts are used evenly, 0 where each layer uses one; mean over layers")
  package static let expertShares = Metric(
    "expert_shares", unit: "shares", format: .table,
    "mixture: for each layer, the share of all choices that each expert had")

  package static let processes = Metric("processes", unit: "processes", format: .count, "several processes: how many")
  package static let exchangeBytes = Metric(
    "exchange_bytes", unit: "bytes", format: .bytes, "several processes: what the first one sent in the step")
  package static let exchangeSeconds = Metric(
    "exchange_seconds", unit: "seconds", "several processes: how long gradients and weights were under way")
  package static let exchangeHiddenShare = Metric(
    "exchange_hidden_share", unit: "share", format: .percent, smallerIsBetter: false,
    "several processes: the share of that time in which this one computed")

  /// The table: what all runs report, then what each stage does.
  package static let all: [Metric] =
    [
      step, epoch, loss, perplexity, bitsPerByte, learningRate, gradientNorm, tokens, tokensPerSecond, peakMemory,
      balanceLoss, busiestExpert, expertEntropy, expertShares, processes, exchangeBytes, exchangeSeconds,
      exchangeHiddenShare,
    ] + Stage.all.flatMap(\.metrics)

  // MARK: - Lines of metrics.jsonl

  /// A line as this version writes it: names of earlier versions are replaced. Nil for what is no line of metrics.
  package static func line(_ text: some StringProtocol) -> JSON? {
    guard case .object(var members)? = try? JSON(parsing: String(text)) else { return nil }
    for place in members.indices where members[place].key == "train/peak_memory_gb" {
      members[place] = .init(peakMemory.key, .number((members[place].value.doubleValue ?? .nan) * 1e9))
    }
    let line = JSON.object(members)
    return line[step.key]?.integerValue == nil ? nil : line
  }

  // MARK: - For other programs

  /// The page's charts and the names that it reads: `{"charts": [{"title", "scale", "lines": [{"name", "label", "kind"}]}],
  /// "names": {…}, "byteUnits": [from 1 in steps of 1024]}`. Kinds: "smoothed" for noisy lines, "held-out" for those with a dot an evaluation.
  package static var pageDescription: JSON {
    var titles: [String] = []
    for metric in all { if let chart = metric.chart, !titles.contains(chart) { titles.append(chart) } }
    let charts = titles.map { title in
      let metrics = all.filter { $0.chart == title }
      let lines = metrics.flatMap { metric in
        metric.sides.map { side in
          JSON.object([
            .init("name", .string(metric.key(side))),
            .init("label", .string(metric.sides.count < 2 ? "" : side == .train ? "training" : "heldOut")),
            .init("kind", .string(side == .eval ? "held-out" : metric.isNoisy ? "smoothed" : "")),
          ])
        }
      }
      // Bytes are drawn in MiB.
      let scale: Double = if case .bytes = metrics[0].format { 1.0 / 1_048_576 } else { 1 }
      return JSON.object([
        .init("title", .string(title)), .init("scale", .number(scale)), .init("lines", .array(lines)),
      ])
    }
    let names = [
      ("step", step.key), ("loss", loss.key), ("heldOutLoss", loss.key(.eval)), ("tokens", tokens.key),
      ("rate", tokensPerSecond.key), ("memory", peakMemory.key), ("experts", expertShares.key),
    ]
    return .object([
      .init("charts", .array(charts)), .init("names", .object(names.map { .init($0.0, .string($0.1)) })),
      .init("byteUnits", .array(byteUnits.map(JSON.string))),
    ])
  }

  /// The table of docs/architecture.md.
  package static var markdown: String {
    "| name | unit | |\n|---|---|---|\n"
      + all.map { metric in
        let names = metric.sides.map { "`\(metric.key($0))`" }.joined(separator: ", ")
        return "| \(names) | \(metric.unit) | \(metric.meaning) |\n"
      }.joined()
  }
}
