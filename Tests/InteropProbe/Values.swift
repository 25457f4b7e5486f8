import Model
import Training

/// Writes PPO's advantages and returns of answers, the loss, what is reported, and the gradient of every weight and of the head.
func writeValues(model: String, case path: String, output: String) throws {
  var answers = try AnswerCase(path)
  answers.batch[DocumentColumn("reward")] = answers.answers.map { Float($0["reward"]?.doubleValue ?? 0) }
  for name in ["old", "reference"] { answers.setColumn(name + " log-probability", from: name) }
  answers.setColumn("old value", from: "old_values")
  var batches = [answers.batch]
  AdvantageEstimation(
    discount: answers.number("gamma"), lambda: answers.number("lambda"), beta: answers.number("beta")
  ).fill(&batches)
  let batch = batches[0]

  let (engine, table) = try answers.engine(model)
  let head = ValueHead(AnswerCase.floats(answers.json["head"]))
  let policy = PolicyLoss(
    .dapo, clipLow: answers.number("clip_low"), clipHigh: answers.number("clip_high"), beta: 0, importanceLimit: 0,
    maximumTokens: 1)
  let objective = ValuedPolicyObjective(
    PolicyObjective(policy, rewards: []),
    ValueLoss(clip: answers.number("value_clip"), coefficient: answers.number("value_coefficient")), head: head)
  var sums = objective.noSums
  engine.zeroGradients()
  objective.forwardBackward(engine, batch, addingTo: &sums)

  let trained = batch.lossWeights.indices.filter { batch.lossWeights[$0] > 0 }
  let mean = 1 / sums.weight("loss")
  let vectors: [(String, [Float])] =
    sums.means.map { ($0.name, [Float($0.value)]) }
    + ["advantage", "return"].map { name in
      (name + "s", trained.map { (batch[TokenColumn(name)] ?? [])[$0] })
    } + [("value_head", head.gradient.map { Float($0 * mean) })]
  try write(vectors, scale: mean, gradientsOf: engine, table, to: output)
}
