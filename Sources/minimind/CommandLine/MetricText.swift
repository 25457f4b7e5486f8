import Foundation
import Storage
import Training

extension Metric {
  /// A value for people, with its unit where the number alone is unclear.
  func text(_ value: Double) -> String {
    switch format {
    case .decimals(let digits): String(format: "%.\(digits)f", value)
    case .scientific: String(format: "%.2e", value)
    case .percent: String(format: "%.0f%%", 100 * value)
    case .count: formatCount(value.rounded(.down))
    case .bytes: formatBytes(value)
    case .table: ""
    }
  }

  /// "-" if there is no value.
  func text(_ value: Double?) -> String { value.map { text($0) } ?? "-" }

  /// "held-out loss" of evaluations, "loss" of training.
  func label(_ side: Side) -> String { side == .eval ? "held-out " + label : label }

  /// The same, with what stands for a run's many values: "training loss, end", "tokens/s, median".
  func comparisonLabel(_ side: Side) -> String {
    let name = sides.count > 1 && side == .train ? "training " + label : label(side)
    return switch summary {
    case .median where side == .train: name + ", median"
    case .largest where side == .train: name
    default: name + ", end"
    }
  }
}

extension [MetricValue] {
  /// What the progress line shows of them after the loss: "accuracy 0.71  margin 0.412".
  var progressTexts: [String] {
    compactMap { value in
      guard value.metric.isInProgressLine, let number = value.value.doubleValue else { return nil }
      return value.metric.label + " " + value.metric.text(number)
    }
  }
}
