import CPUEngine
import Foundation
import Model
import Storage

extension TrainingEvent {
  /// The optimizer step that this is of, and its numbers under the names that training tools share; nil where there are
  /// none. `train/loss` is the cross-entropy alone; for a mixture of experts `train/aux_loss` stands beside it, and
  /// `train/expert_…` say how the experts were used (`ExpertReport`).
  var metrics: (step: Int, values: [(name: String, value: JSON)])? {
    switch self {
    case .step(let report): (report.step, Self.values(report))
    case .evaluation(let evaluation, let epoch): (evaluation.step, Self.values(evaluation, epoch: epoch))
    case .checkpoint, .samples, .readingReference: nil
    }
  }

  private static func values(_ report: StepReport) -> [(name: String, value: JSON)] {
    var values: [(name: String, value: JSON)] = [("train/epoch", .number(report.epoch))]
    if let loss = report.loss { values.append((MetricNames.loss, .number(loss))) }
    if let experts = ExpertReport(report.sums) {
      values += [
        ("train/aux_loss", .number(experts.balanceLoss)), ("train/expert_max_share", .number(experts.largestShare)),
        ("train/expert_entropy", .number(experts.entropy)),
        ("train/expert_shares", .array(experts.shares.map { .array($0.map(JSON.number)) })),
      ]
    }
    values += [
      ("train/learning_rate", .number(report.learningRate)), ("train/grad_norm", .number(report.gradientNorm)),
      ("train/tokens", .integer(report.tokens)), ("train/tokens_per_second", .number(report.tokensPerSecond)),
      ("train/peak_memory_gb", .number(Double(report.peakMemoryBytes) / 1e9)),
    ]
    if let exchange = report.exchange {
      values += [
        ("train/processes", .integer(exchange.count)), ("train/exchange_bytes", .integer(exchange.sentBytes)),
        ("train/exchange_seconds", .number(exchange.seconds)),
        ("train/exchange_hidden_share", .number(exchange.hiddenShare)),
      ]
    }
    return values + Self.values(report.sums, prefix: "train/")
  }

  private static func values(_ evaluation: Evaluation, epoch: Double) -> [(name: String, value: JSON)] {
    var values: [(name: String, value: JSON)] = [
      ("train/epoch", .number(epoch)), (MetricNames.heldOutLoss, .number(evaluation.loss)),
    ]
    if let bitsPerByte = evaluation.bitsPerByte {
      values += [("eval/perplexity", .number(exp(evaluation.loss))), ("eval/bpb", .number(bitsPerByte))]
    }
    return values + Self.values(evaluation.sums, prefix: "eval/")
  }

  /// The means of all but the loss and the experts, which have a place of their own.
  private static func values(_ sums: MetricSums, prefix: String) -> [(name: String, value: JSON)] {
    sums.means.filter {
      $0.name != MetricNames.objective && $0.name != ExpertUse.balanceName && !$0.name.hasPrefix(ExpertUse.sharePrefix)
    }.map { (prefix + $0.name, .number($0.value)) }
  }
}

/// Names that are also read.
package enum MetricNames {
  /// In `MetricSums`: what is minimised.
  package static let objective = "loss"
  package static let step = "train/global_step"
  package static let loss = "train/loss"
  package static let heldOutLoss = "eval/loss"
}
