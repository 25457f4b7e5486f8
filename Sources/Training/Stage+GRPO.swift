extension Stage {
  /// From a model that answers, on prompts whose answers can be checked (Group Relative Policy Optimization).
  package static let grpo = Stage(
    name: "grpo", dataKind: .grpo, defaultEpochs: 1, defaultOptimizer: .adamW, defaultLearningRate: 2e-5,
    ownSettings: SettingList.shared.policySettings, metrics: PolicyObjective.metrics,
    makeObjectives: { context in
      let settings = context.plan.settings
      let objective = PolicyObjective(
        PolicyLoss(settings), rewards: try settings.rewardSum().parts.map(\.reward.name))
      return StageObjectives(training: objective, heldOut: objective, evaluator: try HeldOutRewards(context))
    }, makeSource: { try RolloutSource($0) })
}
