import Compute
import Foundation
import Machine
import Training

/// What a run is about to do, in names and values, before its first step.
func trainingPanel(_ plan: TrainingPlan, output: String, savedThreads: Int? = nil, processes: Int = 1) -> String {
  let settings = plan.settings
  let configuration = plan.configuration
  let data = plan.dataset.training
  let heldOut = plan.dataset.heldOut
  let accumulation = settings.batchTokens! / settings.microBatchTokens!
  let passes = settings.epochs.map { "\($0) epoch\($0 == 1 ? "" : "s")" }
  let available = MachineMemory.availableBytes.map { " of \(formatBytes($0)) available" } ?? ""

  var pairs = [
    (
      "model",
      "\(settings.model ?? settings.from ?? ""), \(formatCount(configuration.parameterCount)) parameters: "
        + "\(configuration.layerCount) layers of \(configuration.hiddenSize), "
        + "\(configuration.headCount)/\(configuration.keyValueHeadCount) heads, vocabulary \(configuration.vocabularySize)"
        + (configuration.isMixture
          ? ", \(configuration.expertsPerToken) of \(configuration.expertCount) experts and "
            + "\(configuration.sharedExpertCount) shared" : "")
    )
  ]
  if let lora = settings.lora {
    let share = Double(plan.trainedParameterCount) / Double(configuration.parameterCount) * 100
    pairs.append(
      (
        "adapter",
        "rank \(lora.rank), alpha \(formatNumber(lora.alpha)), dropout \(formatNumber(lora.dropout)) on "
          + lora.targets.map(\.rawValue).joined(separator: ", ")
          + ": \(formatCount(plan.trainedParameterCount)) parameters are trained, "
          + String(format: "%.1f%% of the model's", share)
      ))
  }
  pairs += [
    (
      "data",
      "\(settings.data): \(formatCount(data.tokenCount)) tokens in \(formatCount(data.documentCount)) documents"
        + (data.trainedTokenCount < data.tokenCount - data.documentCount
          ? ", \(formatCount(data.trainedTokenCount)) trained on" : "")
    ),
    (
      "held out",
      heldOut.documentCount == 0
        ? "nothing: the held-out loss will not be known"
        : "\(formatCount(heldOut.tokenCount)) tokens in \(formatCount(heldOut.documentCount)) documents, "
          + "evaluated every \(settings.evalInterval!) steps"
    ),
    (
      "length",
      "\(passes.map { $0 + ", " } ?? "")\(plan.totalSteps) steps, "
        + "about \(formatCount(settings.epochs.map { $0 * data.inputTokenCount } ?? plan.totalSteps * settings.batchTokens!)) tokens"
    ),
    (
      "batch",
      "\(settings.microBatchTokens!) tokens × \(accumulation) = up to \(settings.batchTokens!) a step, "
        + "sequences up to \(settings.sequenceLength!)"
    ),
    (
      "optimizer",
      (settings.optimizer == .muon ? "Muon, and " : "")
        + "AdamW, betas \(formatNumber(settings.beta1)) and \(formatNumber(settings.beta2)), "
        + "weight decay \(formatNumber(settings.weightDecay)), "
        + (settings.gradientClip > 0 ? "clipped at \(formatNumber(settings.gradientClip))" : "not clipped")
    ),
    (
      "learning rate",
      "\(formatNumber(settings.learningRate)), \(settings.schedule.rawValue), warm-up to step \(settings.warmupSteps!)"
    ),
    ("precision", "\(settings.precision.rawValue), \(settings.threads) thread\(settings.threads == 1 ? "" : "s")"),
    (
      "memory",
      "about \(formatBytes(plan.memoryBytes(processes: processes) + TrainingSamples.memoryBytes(plan)))\(available)"
    ),
    ("seed", String(settings.seed)),
    ("output", output),
  ]
  if processes > 1 {
    let idle = max(0, processes - accumulation)
    pairs.append(
      (
        "processes",
        "\(processes), which share out a step's micro-batches and the optimizer"
          + (idle > 0 ? "; \(idle) will have nothing to do: a smaller --micro-batch-tokens makes more of them" : "")
      ))
  }
  if plan.stage.loss == .preference { pairs.append(("loss", preferenceLossName(plan))) }
  if let savedThreads {
    pairs.append(("resumes", plan.checkpoint.map { "from \($0)" } ?? "from the beginning: there is no checkpoint yet"))
    if savedThreads != settings.threads {
      pairs.append(
        ("note", "begun with \(savedThreads) threads; only with as many are the weights the same to the bit"))
    }
  } else if plan.stage == .pretrain {
    pairs.append(
      (
        "expected",
        String(format: "the loss begins near ln(vocabulary) = %.2f", log(Double(configuration.vocabularySize)))
      ))
  }
  return renderPairs(pairs.map { (name: $0.0, value: $0.1) }) + "\n"
}

private func preferenceLossName(_ plan: TrainingPlan) -> String {
  let settings = plan.settings
  return "\(settings.loss == .ipo ? "IPO" : "DPO") with beta \(formatNumber(settings.beta!))"
    + (settings.lengthNormalized! ? ", normalised by length" : "") + ", against \(settings.from ?? "")"
}

/// How a session ended, and what to do next.
func trainingSummary(_ summary: TrainingSummary, _ plan: TrainingPlan, run: RunDirectory) -> String {
  let times = summary.times
  func share(_ seconds: Double) -> String {
    String(format: "%.1f%%", 100 * seconds / max(summary.sessionSeconds, 1e-9))
  }
  var pairs = [
    ("steps", "\(summary.step) of \(plan.totalSteps)"), ("tokens", formatCount(summary.tokens)),
    ("time", formatDuration(summary.seconds)),
  ]
  let computing = times.passes + times.optimizer + times.exchange + times.data
  if computing > 0 {
    pairs += [
      ("speed", "\(formatCount(Int(Double(summary.sessionTokens) / computing))) tokens/s"),
      (
        "time share",
        "passes \(share(times.passes)), optimizer \(share(times.optimizer)), data \(share(times.data)), "
          + (summary.exchange == nil ? "" : "exchange \(share(times.exchange)), ")
          + "evaluation \(share(times.evaluation)), checkpoints \(share(times.checkpoints))"
      ),
    ]
  }
  if let exchange = summary.exchange {
    pairs.append(
      (
        "exchange",
        "\(exchange.count) processes; this one sent \(formatBytes(exchange.sentBytes)) in "
          + "\(formatDuration(exchange.seconds)), of which computing hid "
          + String(format: "%.0f%%", 100 * exchange.hiddenShare)
      ))
  }
  pairs.append(
    (
      "peak memory",
      formatBytes(summary.peakMemoryBytes) + ", of which moments \(formatBytes(summary.momentBytes))"
    ))
  if let loss = summary.smoothedLoss { pairs.append(("training loss", String(format: "%.4f, smoothed", loss))) }
  if let heldOut = summary.heldOut { pairs.append(("held-out loss", lossText(heldOut))) }
  if let best = summary.best, best.step != summary.heldOut?.step {
    pairs.append(("best", "\(lossText(best)), kept as \(run.path)/checkpoints/best"))
  }
  pairs.append(("plot", run.plotPath))
  if summary.isComplete { pairs.append(("next", nextCommand(plan, run))) }
  return "\n" + renderPairs(pairs.map { (name: $0.0, value: $0.1) })
}

/// "3.2101 nats/token, 1.234 bits/byte (step 120)", or "0.5432, margin 0.412, accuracy 0.71 (step 120)".
func lossText(_ evaluation: Evaluation) -> String {
  let unit = evaluation.bitsPerByte.map { [String(format: "%.3f bits/byte", $0)] } ?? []
  let parts =
    [Metric.loss.text(evaluation.loss) + (unit.isEmpty ? "" : " nats/token")] + unit + evaluation.values.progressTexts
  return "\(parts.joined(separator: ", ")) (step \(evaluation.step))"
}

private func nextCommand(_ plan: TrainingPlan, _ run: RunDirectory) -> String {
  plan.stage.dataKind == .pretrain
    ? "minimind generate --model \(run.path) --prompt \"…\"" : "minimind chat --model \(run.path)"
}
