extension Stage {
  /// From a model that answers, on pairs of answers (Direct Preference Optimization).
  package static let dpo = Stage(
    name: "dpo", dataKind: .dpo, defaultEpochs: 1, defaultOptimizer: .adamW, defaultLearningRate: 5e-5,
    ownSettings: SettingList.shared.preferenceSettings, metrics: PreferenceLoss.metrics,
    makeObjectives: { context in
      guard let reference = try ReferenceLogProbabilities.prepared(context) else { return nil }
      let loss = PreferenceLoss(context.plan.settings)
      return StageObjectives(
        training: PreferenceObjective(loss, reference: reference.training),
        heldOut: PreferenceObjective(loss, reference: reference.heldOut))
    })
}
