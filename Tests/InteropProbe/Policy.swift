import Model
import Training

/// Writes the loss of answers, what is reported of them, and the gradient of every weight.
func writePolicy(model: String, case path: String, output: String) throws {
  var answers = try AnswerCase(path)
  guard let shape = PolicyLoss.Shape(rawValue: answers.json["loss"]?.stringValue ?? "") else {
    throw ProbeError(description: "\(path) names no loss")
  }
  let loss = PolicyLoss(
    shape, clipLow: answers.number("clip_low"), clipHigh: answers.number("clip_high"), beta: answers.number("beta"),
    importanceLimit: answers.number("importance_limit"), maximumTokens: Int(answers.number("maximum_tokens")))
  var advantages = [Float](repeating: 0, count: answers.batch.tokenCount)
  for (document, answer) in answers.answers.enumerated() {
    for row in answers.batch.rows(ofDocument: document) {
      advantages[row] = Float(answer["advantage"]?.doubleValue ?? 0)
    }
  }
  answers.batch[TokenColumn("advantage")] = advantages
  for name in ["old", "reference", "written"] { answers.setColumn(name + " log-probability", from: name) }
  let (engine, table) = try answers.engine(model)
  try writeObjective(PolicyObjective(loss, rewards: []), engine, answers.batch, table, to: output)
}
