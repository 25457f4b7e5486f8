import Corpus
import Model
import Storage

/// The mean loss of the tokens that are trained on, of which a teacher has a share (`Distillation`). Held-out documents are
/// measured without a teacher, by their cross-entropy.
struct DistillationObjective: Objective {
  private let teacher: (any TrainingEngine)?
  private let distillation: Distillation

  /// - Parameter teacher: nil where what it has said comes with the data.
  init(_ distillation: Distillation, teacher: (any TrainingEngine)?) {
    self.teacher = teacher
    self.distillation = distillation
  }

  var metricNames: [String] { [Metric.loss.name] + Self.metrics.map(\.name) }
  var mean: LossMean { .tokens }
  var lossUnit: String { "nats a token" }
  var isCrossEntropy: Bool { false }

  func forwardBackward(
    _ engine: any TrainingEngine, _ batch: Batch, tokensBefore: Int, addingTo sums: inout MetricSums
  ) {
    guard let engine = engine as? any DistillingEngine else { preconditionFailure("an engine that takes no teacher") }
    var distillation = distillation
    // The cross-entropy of what the model itself has written teaches nothing: its gradient is 0 on average.
    if batch[.isWritten]?.contains(1) == true { distillation.textShare = 0 }
    let (losses, crossEntropies) = engine.forwardBackward(
      batch, lossWeights: batch.lossWeights, distillation, teacher: teacher, tokensBefore: tokensBefore)
    let all = losses.sum(batch)
    let text = crossEntropies.sum(batch)
    sums.add(Metric.loss.name, all.loss, weight: all.weight)
    sums.add(Self.crossEntropy.name, text.loss, weight: text.weight)
    // Of a text alone nothing tells how far the teacher is.
    let share = (1 - distillation.textShare) * distillation.temperature * distillation.temperature
    let divergence = share > 0 ? (all.loss - distillation.textShare * text.loss) / share : 0
    sums.add(Self.divergence.name, divergence, weight: share > 0 ? all.weight : 0)
    if let isWritten = batch[.isWritten] {
      let written = isWritten.indices.filter { isWritten[$0] == 1 }.flatMap { batch.rows(ofDocument: $0) }
      sums.add(Self.onPolicyShare.name, written.reduce(0) { $0 + Double(batch.lossWeights[$1]) }, weight: all.weight)
    }
  }

  func weights(_ losses: TokenLosses, of batch: Batch, addingTo sums: inout MetricSums) -> [Float] {
    preconditionFailure("a loss that does not follow from those of the tokens")
  }

  static let metrics = [crossEntropy, divergence, onPolicyShare]
  private static let crossEntropy = Metric(
    "cross_entropy", unit: "nats/token", chart: "crossEntropy", smallerIsBetter: true,
    "with a teacher: the text's part of the loss, comparable with the held-out loss")
  private static let divergence = Metric(
    "divergence", unit: "nats/token", chart: "divergence", smallerIsBetter: true, isInProgressLine: true,
    "with a teacher: of its distribution and the model's, at the temperature")
  private static let onPolicyShare = Metric(
    "on_policy_share", unit: "share", format: .decimals(2),
    "with `--on-policy`: of the tokens that are learned, those that the model itself has written")
}

extension SettingList {
  package var teacher: OpenSetting<String> {
    OpenSetting(
      "teacher", "MODEL", mayDiffer: [.onResume, .betweenProcesses],
      help:
        "Learns also from this model, by the probabilities that it gives to every next token (distillation). It has the "
        + "same tokenizer.")
  }
  package var distillAlpha: OpenSetting<Double> {
    OpenSetting(
      "distill-alpha", kind: .number(0...1),
      help: "--teacher: the share of the text in the loss; the rest is the teacher's.", defaultText: { _ in "0.5" })
  }
  package var distillTemperature: OpenSetting<Double> {
    OpenSetting(
      "distill-temperature", kind: .number(0.01...100),
      help: "--teacher: what both models' logits are divided by; a higher one shows more of the less likely tokens.",
      defaultText: { _ in "1.5" })
  }
  package var distillBeta: OpenSetting<Double> {
    OpenSetting(
      "distill-beta", kind: .number(0...1),
      help: "--teacher: which divergence: 0 is KL(teacher || model), which covers all that the teacher may say, 1 the "
        + "reverse, which keeps to its likeliest; between them the generalised Jensen-Shannon divergence.",
      defaultText: { _ in "0" })
  }

  package var teacherTop: OpenSetting<Int> {
    OpenSetting(
      "teacher-top", kind: .integer(1...TeacherFile.mostTokens),
      help:
        "--teacher: only its N likeliest tokens count each for itself, and all others together as one; on the processor.",
      defaultText: { _ in "all tokens" })
  }

  /// The options of a stage that can have a teacher.
  var distillationSettings: [SettingDescription] {
    [
      teacher.description, distillAlpha.description, distillTemperature.description, distillBeta.description,
      teacherTop.description,
    ]
  }
}

extension Distillation {
  package init(_ settings: TrainingSettings) {
    self.init()
    if let alpha = settings.distillAlpha { textShare = alpha }
    if let temperature = settings.distillTemperature { self.temperature = temperature }
    if let beta = settings.distillBeta { mixture = beta }
    top = settings.teacherTop
  }
}

extension TrainingSettings {
  /// - Parameters:
  ///   - stored: what the data have of a teacher, if anything.
  ///   - data: their path.
  /// - Throws: `TrainingError` when options of a teacher are given without one, or one where there can be none.
  func validateTeacher(stored: DataManifest.Teacher?, data: String) throws(TrainingError) {
    if let stored { try validate(stored, data: data) }
    guard self.teacher != nil || stored != nil else {
      for (option, isGiven) in [
        ("--distill-alpha", self.distillAlpha != nil), ("--distill-temperature", self.distillTemperature != nil),
        ("--distill-beta", self.distillBeta != nil), ("--teacher-top", self.teacherTop != nil),
        ("--on-policy", self.onPolicy != nil),
      ] where isGiven {
        throw TrainingError("\(option) says how to learn from a teacher. Give one by --teacher, or leave it out.")
      }
      return
    }
    guard self.thinkWeight ?? 1 == 1 else {
      throw TrainingError("--think-weight is for runs without a teacher. Leave out one of the two.")
    }
    if self.device == .gpu, self.teacherTop != nil || stored != nil {
      throw TrainingError(
        stored == nil
          ? "--device gpu computes with all of a teacher's probabilities. Leave out --teacher-top."
          : "--device gpu computes with all of a teacher's probabilities, and \(data) holds the likeliest alone. Leave it "
            + "out, or give --teacher and the data without.")
    }
  }

  private func validate(_ stored: DataManifest.Teacher, data: String) throws(TrainingError) {
    guard self.teacher == nil else {
      throw TrainingError(
        "\(data) holds what a teacher said (\(stored.model.prefix(12))…), so that none is needed in memory. Leave out "
          + "--teacher, or give the data without that.")
    }
    guard self.onPolicy ?? 0 == 0 else {
      throw TrainingError(
        "--on-policy asks the teacher about the model's own answers, and \(data) holds what it said about the data's. Give "
          + "--teacher and the data without that, or leave out --on-policy.")
    }
    if let top = self.teacherTop, top != stored.top {
      throw TrainingError(
        "--teacher-top \(top) is not that of \(data), which holds \(stored.top) tokens of its teacher. Leave it out, or "
          + "make the data again: minimind data teacher --top \(top)")
    }
    if let temperature = self.distillTemperature, temperature != stored.temperature {
      throw TrainingError(
        "--distill-temperature \(formatNumber(temperature)) is not that of \(data), whose teacher was asked at "
          + "\(formatNumber(stored.temperature)). Leave it out, or make the data again with minimind data teacher.")
    }
  }
}

extension Stage {
  /// The objectives of a stage that learns a text, with the plan's teacher or the weight of the tags of reasoning, if it has one.
  @Sendable static func objectives(_ context: StageContext) throws -> StageObjectives? {
    let distillation = Distillation(context.plan.settings.recorded)
    guard let teacher = context.plan.teacher else {
      guard context.plan.dataset.manifest.teacher == nil else {
        return StageObjectives(
          training: DistillationObjective(distillation, teacher: nil), heldOut: CrossEntropyObjective())
      }
      guard let tags = context.plan.thinkTags else { return .crossEntropy }
      return StageObjectives(training: ThinkTagObjective(tags), heldOut: CrossEntropyObjective())
    }
    guard context.engine is any DistillingEngine else {
      throw TrainingError("this engine computes without a teacher. Leave out --teacher.")
    }
    let engine = try context.engines.makeEngine(
      .whole(try teacher.parameters()), context.plan.engineSettings().withoutTraining)
    return StageObjectives(
      training: DistillationObjective(distillation, teacher: engine),
      heldOut: CrossEntropyObjective())
  }
}
