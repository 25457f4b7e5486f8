import Foundation
import Model
import Storage

/// A metric's value at a step.
package struct MetricValue: Sendable {
  package var metric: Metric
  package var side: Metric.Side
  package var value: JSON

  init(_ metric: Metric, _ side: Metric.Side, _ value: JSON) {
    (self.metric, self.side, self.value) = (metric, side, value)
  }

  /// Of training.
  init(_ metric: Metric, _ value: JSON) { self.init(metric, .train, value) }

  package var key: String { metric.key(side) }
}

extension TrainingEvent {
  /// The optimizer step that this is of, and its numbers; nil where there are none.
  package var metrics: (step: Int, values: [MetricValue])? {
    switch self {
    case .step(let report): (report.step, report.values)
    case .evaluation(let evaluation, let epoch):
      (evaluation.step, [MetricValue(.epoch, .number(epoch))] + evaluation.values)
    case .checkpoint, .samples, .preparing: nil
    }
  }

  /// The line of `metrics.jsonl`, which goes to other programs as well; nil where there are no numbers.
  var metricsLine: String? {
    guard let (step, values) = metrics else { return nil }
    let members = [JSON.Member(Metric.step.key, .integer(step))] + values.map { JSON.Member($0.key, $0.value) }
    return JSON.object(members).compactText
  }
}

extension StepReport {
  /// All numbers but the step's own.
  package var values: [MetricValue] {
    var values = [MetricValue(.epoch, .number(epoch))]
    if let loss { values.append(MetricValue(.loss, .number(loss))) }
    if let experts = ExpertReport(sums) {
      values += [
        MetricValue(.balanceLoss, .number(experts.balanceLoss)),
        MetricValue(.busiestExpert, .number(experts.largestShare)),
        MetricValue(.expertEntropy, .number(experts.entropy)),
        MetricValue(.expertShares, .array(experts.shares.map { .array($0.map(JSON.number)) })),
      ]
    }
    values += [
      MetricValue(.learningRate, .number(learningRate)), MetricValue(.gradientNorm, .number(gradientNorm)),
      MetricValue(.tokens, .integer(tokens)), MetricValue(.tokensPerSecond, .number(tokensPerSecond)),
      MetricValue(.peakMemory, .integer(peakMemoryBytes)),
    ]
    if let exchange {
      values += [
        MetricValue(.processes, .integer(exchange.count)), MetricValue(.exchangeBytes, .integer(exchange.sentBytes)),
        MetricValue(.exchangeSeconds, .number(exchange.seconds)),
        MetricValue(.exchangeHiddenShare, .number(exchange.hiddenShare)),
      ]
    }
    return values + sums.values(.train)
  }
}

extension Evaluation {
  package var values: [MetricValue] {
    var values = [MetricValue(.loss, .eval, .number(loss))]
    if let bitsPerByte {
      values += [
        MetricValue(.perplexity, .eval, .number(exp(loss))), MetricValue(.bitsPerByte, .eval, .number(bitsPerByte)),
      ]
    }
    return values + sums.values(.eval)
  }
}

extension MetricSums {
  /// The means of all sums except the loss and those of the experts, which are shown with what is derived from them.
  fileprivate func values(_ side: Metric.Side) -> [MetricValue] {
    var values = means.filter {
      $0.name != Metric.loss.name && $0.name != ExpertSums.balance && !$0.name.hasPrefix(ExpertSums.sharePrefix)
    }.map { MetricValue(.named($0.name), side, .number($0.value)) }
    // Of answers that are no pairs: the difference of two means over different answers.
    let margins = "rewards/margins"
    if !names.contains(margins), let chosen = mean("rewards/chosen"), let rejected = mean("rewards/rejected") {
      values.append(MetricValue(.named(margins), side, .number(chosen - rejected)))
    }
    return values
  }
}
