import Model

extension Stage {
  /// From a model that answers, on prompts whose answers can be checked, with a value for each token (Proximal Policy
  /// Optimization).
  package static let ppo: Stage = {
    var stage = Stage(
      name: "ppo", dataKind: .grpo, defaultEpochs: 1, defaultOptimizer: .adamW, defaultLearningRate: 2e-5,
      metrics: ValuedPolicyObjective.metrics,
      makeObjectives: { context in
        let settings = context.plan.settings
        guard let head = context.valueHead else { preconditionFailure("a run without a value head") }
        let policy = PolicyObjective(
          PolicyLoss(ofValues: settings), rewards: try settings.rewardSum().parts.map(\.reward.name))
        return StageObjectives(
          training: ValuedPolicyObjective(policy, ValueLoss(settings), head: head), heldOut: policy,
          evaluator: try HeldOutRewards(context))
      }, makeSource: { try RolloutSource($0) })
    stage.learnsValues = true
    stage.ownSettings = SettingList.shared.valueSettings
    return stage
  }()
}

extension SettingList {
  package var discount: Setting<Double> {
    Setting(
      "gamma", default: 1, in: 0...1,
      help: "What a reward counts one token earlier: below 1, early tokens count less for how the answer ends.")
  }
  package var advantageDecay: Setting<Double> {
    Setting(
      "lambda", default: 0.95, in: 0...1,
      help: "How far advantages look ahead: 1 to the end of the answer, 0 to the value of the next token.")
  }
  package var valueCoefficient: Setting<Double> {
    Setting("value-coefficient", default: 0.1, in: 1e-6...1000, help: "What the loss of the values counts.")
  }
  package var valueClip: Setting<Double> {
    Setting(
      "value-clip", default: 0.2, in: 0...1000,
      help: "A value that has come nearer to the return by more than this is left alone; 0: none is.")
  }
  package var valueLearningRate: Setting<Double> {
    Setting(
      "value-learning-rate", kind: .number(1e-12...10), mayDiffer: .onExtension,
      help: "The learning rate of the value head at its peak, higher than the model's as it begins at 0."
    ) { _ in 1e-3 }
  }

  /// The options of a stage that learns values from its own answers.
  var valueSettings: [SettingDescription] {
    rolloutSettings.map { setting -> SettingDescription in
      switch setting.name {
      case answersPerPrompt.description.name:
        setting.with(kind: .integer(1...1024), help: "Answers to each prompt.")
      case clipHigh.description.name: setting.with(help: "The same upwards.")
      case divergence.description.name:
        setting.with(
          help: "What each token's reward loses for how far it is from the starting model, which is then in memory as "
            + "well; 0: nothing.")
      default: setting
      }
    } + [
      discount.description, advantageDecay.description, valueCoefficient.description, valueClip.description,
      valueLearningRate.description,
    ]
  }
}

extension PolicyLoss {
  /// That of a stage that learns values: all tokens count alike, and the divergence is in the rewards.
  init(ofValues settings: ResolvedSettings) {
    self.init(
      .dapo, clipLow: settings.recorded.clipLow ?? 0.2, clipHigh: settings.recorded.clipHigh ?? 0.2, beta: 0,
      importanceLimit: settings.importanceLimit, maximumTokens: settings.answerTokens)
  }
}

extension ValueLoss {
  init(_ settings: ResolvedSettings) {
    self.init(clip: settings.valueClip, coefficient: settings.valueCoefficient)
  }
}

extension AdvantageEstimation {
  init(_ settings: ResolvedSettings) {
    self.init(discount: settings.discount, lambda: settings.advantageDecay, beta: settings.divergence)
  }
}
