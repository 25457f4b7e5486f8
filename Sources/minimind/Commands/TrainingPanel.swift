import Compute
import Foundation
import Machine
import Model
import Storage
import Training

/// The settings of a run as names and values, shown before its first step.
///
/// - Parameters:
///   - memoryBytes: what the run needs in each process.
///   - device: where it computes, where that is not the processor.
///   - deviceMemory: what it needs there.
///   - attention: how it is computed there, where there is a choice.
///   - resumed: the settings of the record, where a run goes on.
///   - otherDevice: where it was begun, if it goes on elsewhere.
func trainingPanel(
  _ plan: TrainingPlan, memoryBytes: Int, output: String, device: String? = nil, deviceMemory: DeviceMemory? = nil,
  attention: String? = nil,
  resumed: TrainingSettings? = nil, otherDevice: String? = nil, processes: Int = 1
) -> String {
  let panel = TrainingPanel(
    plan: plan, memoryBytes: memoryBytes, output: output, resumed: resumed, otherDevice: otherDevice,
    processes: processes)
  let rows: [(name: String, value: String?)] = [
    ("model", panel.model), ("adapter", panel.adapter), ("teacher", panel.teacher), ("data", panel.data),
    ("held out", panel.heldOut),
    ("length", panel.length), ("batch", panel.batch), ("optimizer", panel.optimizer),
    ("learning rate", panel.learningRate), ("precision", panel.precision), ("device", device),
    ("attention", attention), ("device memory", deviceMemory.map(panel.memory(of:))), ("memory", panel.memory),
    ("seed", String(plan.settings.seed)), ("output", output), ("processes", panel.sharing),
    (plan.stage.name, panel.stage), ("resumes", panel.resumes), ("extended", panel.extended), ("note", panel.note),
    ("expected", panel.expected),
  ]
  return renderPairs(rows.compactMap { row in row.value.map { (name: row.name, value: $0) } }) + "\n"
}

/// The values of the panel's rows; nil for a row that is left out.
private struct TrainingPanel {
  let plan: TrainingPlan
  let memoryBytes: Int
  let output: String
  let resumed: TrainingSettings?
  let otherDevice: String?
  let processes: Int

  private var settings: ResolvedSettings { plan.settings }
  /// Micro-batches of a full step.
  private var microBatches: Int { settings.batchTokens / settings.microBatchTokens }

  var model: String {
    let shape = plan.configuration
    let experts =
      shape.isMixture
      ? ", \(shape.expertsPerToken) of \(shape.expertCount) experts and \(shape.sharedExpertCount) shared" : ""
    return "\(settings.modelName), \(formatCount(shape.parameterCount)) parameters: \(shape.layerCount) layers of "
      + "\(shape.hiddenSize), \(shape.headCount)/\(shape.keyValueHeadCount) heads, vocabulary \(shape.vocabularySize)"
      + experts
  }

  var adapter: String? {
    settings.lora.map { lora in
      let share = Double(plan.trainedParameterCount) / Double(plan.configuration.parameterCount) * 100
      return "rank \(lora.rank), alpha \(formatNumber(lora.alpha)), dropout \(formatNumber(lora.dropout)) on "
        + lora.targets.map(\.rawValue).joined(separator: ", ")
        + ": \(formatCount(plan.trainedParameterCount)) parameters are trained, "
        + String(format: "%.1f%% of the model's", share)
    }
  }

  var teacher: String? {
    let distillation = Distillation(settings.recorded)
    let how =
      ": \(formatNumber(1 - distillation.textShare)) of the loss, temperature "
      + "\(formatNumber(distillation.temperature)), beta \(formatNumber(distillation.mixture))"
      + (distillation.top.map { ", its \(formatCount($0)) likeliest tokens" } ?? "")
      + (settings.onPolicyShare > 0
        ? "; the model writes the answers of \(formatNumber(settings.onPolicyShare)) of the steps" : "")
    if let stored = plan.dataset.manifest.teacher { return "\(stored.model.prefix(12))…, stored with the data\(how)" }
    return plan.teacher.map { teacher in
      "\(teacher.path), \(formatCount(teacher.configuration.parameterCount)) parameters\(how)"
    }
  }

  var data: String {
    let split = plan.dataset.training
    return "\(settings.data): \(formatCount(split.tokenCount)) tokens in \(formatCount(split.documentCount)) documents"
      + (split.trainedTokenCount < split.tokenCount - split.documentCount
        ? ", \(formatCount(split.trainedTokenCount)) trained on" : "")
  }

  var heldOut: String {
    let split = plan.dataset.heldOut
    return split.documentCount == 0
      ? "nothing: the held-out loss will not be known"
      : "\(formatCount(split.tokenCount)) tokens in \(formatCount(split.documentCount)) documents, "
        + "evaluated every \(settings.evalInterval) steps"
  }

  var length: String {
    switch settings.length {
    case .epochs(let count):
      "\(count) epoch\(count == 1 ? "" : "s"), \(settings.totalSteps) steps, "
        + "about \(formatCount(count * plan.dataset.training.inputTokenCount)) tokens"
    case .steps(let count): "\(count) steps, about \(formatCount(count * settings.batchTokens)) tokens"
    }
  }

  var batch: String {
    "\(settings.microBatchTokens) tokens × \(microBatches) = up to \(settings.batchTokens) a step, "
      + "sequences up to \(settings.sequenceLength)"
  }

  var optimizer: String {
    (settings.optimizer == .muon ? "Muon, and " : "")
      + "AdamW, betas \(formatNumber(settings.beta1)) and \(formatNumber(settings.beta2)), "
      + "weight decay \(formatNumber(settings.weightDecay)), "
      + (settings.gradientClip > 0 ? "clipped at \(formatNumber(settings.gradientClip))" : "not clipped")
  }

  var learningRate: String {
    "\(formatNumber(settings.learningRate)), \(settings.schedule.rawValue), warm-up to step \(settings.scheduleStart + settings.warmupSteps)"
  }

  var precision: String {
    "\(settings.precision.rawValue), \(settings.threads) thread\(settings.threads == 1 ? "" : "s")"
  }

  var memory: String {
    let available = MachineMemory.availableBytes.map { " of \(formatBytes($0)) available" } ?? ""
    return "about \(formatBytes(memoryBytes))\(available)"
  }

  func memory(of device: DeviceMemory) -> String {
    "about \(formatBytes(device.neededBytes))" + (device.availableBytes.map { " of \(formatBytes($0))" } ?? "")
      + ": weights and optimizer \(formatBytes(device.keptBytes)), a micro-batch \(formatBytes(device.temporaryBytes))"
  }

  var sharing: String? {
    guard processes > 1 else { return nil }
    let idle = max(0, processes - microBatches)
    return "\(processes), which share out a step's micro-batches and the optimizer"
      + (idle > 0 ? "; \(idle) will have nothing to do: a smaller --micro-batch-tokens makes more of them" : "")
  }

  /// The options that only this stage has.
  var stage: String? {
    let texts = plan.stage.ownSettings.compactMap { setting in
      settings.recorded[setting.name].map { "\(setting.name) \($0.settingText)" }
    }
    return texts.isEmpty ? nil : texts.joined(separator: ", ")
  }

  var resumes: String? {
    resumed.map { _ in plan.checkpoint.map { "from \($0)" } ?? "from the beginning: there is no checkpoint yet" }
  }

  var extended: String? {
    plan.extendedRecord?.extensions.last.map { last in
      "after step \(last.fromStep) of \(last.previousTotalSteps), to \(last.totalSteps), with a new schedule"
    }
  }

  var note: String? {
    if let otherDevice { return "begun on \(otherDevice); only there are the weights the same to the bit" }
    guard let threads = resumed?.threads, threads != settings.threads else { return nil }
    return "begun with \(threads) threads; only with as many are the weights the same to the bit"
  }

  var expected: String? {
    guard resumed == nil, plan.startModelHash == nil else { return nil }
    return String(
      format: "the loss begins near ln(vocabulary) = %.2f", log(Double(plan.configuration.vocabularySize)))
  }
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
  plan.stage.scores
    ? "minimind eval reward --model \(run.path) --input FILE"
    : plan.stage.modelsAnswer
      ? "minimind chat --model \(run.path)" : "minimind generate --model \(run.path) --prompt \"…\""
}
