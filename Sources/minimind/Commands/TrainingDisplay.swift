import Foundation
import Model
import Storage
import Training

/// Shows a run while it goes on: one redrawn bar on a terminal, plain lines at intervals elsewhere, and lasting lines for
/// evaluations, checkpoints and samples. A run goes on when its output can no longer be written.
final class TrainingDisplay: MetricsSink {
  private let console: Console
  private let progress: ProgressLine
  private let logInterval: Int
  private let totalSteps: Int
  private var collapse = CollapseWatch()

  init(_ plan: TrainingPlan, _ console: Console) {
    self.console = console
    logInterval = plan.settings.logInterval
    totalSteps = plan.totalSteps
    progress = ProgressLine("training", total: plan.totalSteps, unit: .things("steps"), console: console)
  }

  func record(_ event: TrainingEvent) {
    switch event {
    case .step(let report):
      if console.isTerminal {
        progress.update { _ in
          // The bar takes what the numbers leave, in steps, so that it does not jump with every digit.
          let room = console.width - 5 - displayWidth(stepText(report, barWidth: 0))
          return stepText(report, barWidth: min(24, max(0, room) / 8 * 8))
        }
      } else if report.step.isMultiple(of: logInterval) || report.step == totalSteps || report.step == 1 {
        progress.note(stepText(report, barWidth: 0))
      }
      if let notice = collapse.notice(report.sums) { progress.note("\(stepName(report.step))  \(notice)") }
    case .evaluation(let evaluation, _):
      var parts = ["\(stepName(evaluation.step))  held-out loss \(String(format: "%.4f", evaluation.loss))"]
      if let bitsPerByte = evaluation.bitsPerByte {
        parts.append(String(format: "perplexity %.2f  %.3f bits/byte", exp(evaluation.loss), bitsPerByte))
      }
      progress.note((parts + evaluation.values.progressTexts).joined(separator: "  "))
    case .preparing(let what, let share):
      progress.update { _ in what + String(format: "  %3.0f%%", share * 100) }
    case .checkpoint(let path, let step, let isBest):
      progress.note("\(stepName(step))  saved \(path)\(isBest ? ", the best so far" : "")")
    case .samples(let report):
      for sample in report.samples {
        let text = (sample.prompt + "→" + sample.continuation).replacingOccurrences(of: "\n", with: "⏎")
        progress.note(
          "\(stepName(report.step))  \(console.isTerminal ? truncated(text, to: max(20, console.width - 20)) : text)")
      }
    }
  }

  func finish() { progress.finish() }

  private func stepName(_ step: Int) -> String { stepLabel(step, of: totalSteps) }
}

/// "step  120/1000", as wide for every step of a run.
private func stepLabel(_ step: Int, of total: Int) -> String {
  "step \(String(step).padded(to: String(total).count, alignedRight: true))/\(total)"
}

/// The line of a step. With a bar, the share of the run is drawn too.
func stepText(_ report: StepReport, barWidth: Int) -> String {
  let share = Double(report.step) / Double(report.totalSteps)
  var parts = [stepLabel(report.step, of: report.totalSteps)]
  if barWidth > 0 { parts.append(progressBar(share: share, width: barWidth)) }
  parts.append(String(format: "%3.0f%%", share * 100))
  // Before the fields that a narrow terminal cuts off.
  if let left = report.secondsLeft, report.step < report.totalSteps { parts.append("\(formatDuration(left)) left") }
  parts.append(report.smoothedLoss.map { String(format: "loss %.4f", $0) } ?? "loss -")
  parts += report.values.progressTexts
  parts.append(String(format: "lr %.2e", report.learningRate))
  parts.append(String(format: "norm %.2f", report.gradientNorm))
  parts.append("\(formatCount(Int(report.tokensPerSecond))) tokens/s")
  return parts.joined(separator: "  ")
}
