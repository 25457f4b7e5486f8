extension Stage {
  /// From a model that answers, on answers with labels (Kahneman-Tversky Optimization, `KTOLoss`).
  package static let kto = Stage(
    name: "kto", dataKind: .kto, defaultEpochs: 1, defaultOptimizer: .adamW, defaultLearningRate: 5e-5,
    ownSettings: [
      SettingList.shared.train.description, SettingList.shared.beta.description,
      SettingList.shared.desirableWeight.description,
      SettingList.shared.undesirableWeight.description,
    ],
    metrics: KTOLoss.metrics,
    makeObjectives: { context in
      guard let reference = try ReferenceLogProbabilities.prepared(context, withMismatched: true) else { return nil }
      let plan = context.plan
      let loss = KTOLoss(plan.settings)
      let others = reference.mismatched ?? []
      return StageObjectives(
        training: KTOObjective(
          loss, plan.dataset.training, mismatched: plan.mismatchedAnswers(plan.dataset.training),
          reference: reference.training, mismatchedReference: others[0]),
        heldOut: KTOObjective(
          loss, plan.dataset.heldOut, mismatched: plan.mismatchedAnswers(plan.dataset.heldOut),
          reference: reference.heldOut, mismatchedReference: others[1]))
    })
}
