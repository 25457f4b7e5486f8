extension Stage {
  /// From a model that answers, on pairs of answers (Direct Preference Optimization and its kin: `PreferenceLoss`).
  package static let dpo = Stage(
    name: "dpo", dataKind: .dpo, defaultEpochs: 1, defaultOptimizer: .adamW, defaultLearningRate: 5e-5,
    ownSettings: [SettingList.shared.train.description] + SettingList.shared.preferenceSettings,
    metrics: PreferenceLoss.metrics,
    makeObjectives: { context in
      let loss = PreferenceLoss(context.plan.settings)
      guard loss.shape.needsReference else {
        let objective = PreferenceObjective(loss, reference: nil)
        return StageObjectives(training: objective, heldOut: objective)
      }
      guard let reference = try ReferenceLogProbabilities.prepared(context) else { return nil }
      return StageObjectives(
        training: PreferenceObjective(loss, reference: reference.training),
        heldOut: PreferenceObjective(loss, reference: reference.heldOut))
    })
}
