import CPUEngine
import Model
import ModelFiles
import Storage
import Training

/// Writes the loss of answers, what is reported of them, and the gradient of every weight.
func writePolicy(model: String, case path: String, output: String) throws {
  let json = try JSON(contentsOf: path)
  func number(_ name: String) -> Double { json[name]?.doubleValue ?? 0 }
  guard let shape = PolicyLoss.Shape(rawValue: json["loss"]?.stringValue ?? "") else {
    throw ProbeError(description: "\(path) names no loss")
  }
  let loss = PolicyLoss(
    shape, clipLow: number("clip_low"), clipHigh: number("clip_high"), beta: number("beta"),
    importanceLimit: number("importance_limit"), maximumTokens: Int(number("maximum_tokens")))
  let answers = json["answers"]?.arrayValue ?? []
  func ids(_ answer: JSON, _ name: String) -> [Int32] {
    (answer[name]?.arrayValue ?? []).compactMap { $0.integerValue.map { Int32($0) } }
  }
  var batch = Batch()
  for answer in answers {
    let prompt = ids(answer, "prompt")
    let isMasked = answer["masked"]?.boolValue ?? false
    batch.append(document: prompt + ids(answer, "answer")) { !isMasked && $0 >= prompt.count }
  }
  var advantages = [Float](repeating: 0, count: batch.tokenCount)
  for (document, answer) in answers.enumerated() {
    for row in batch.rows(ofDocument: document) { advantages[row] = Float(answer["advantage"]?.doubleValue ?? 0) }
  }
  batch[TokenColumn("advantage")] = advantages
  for (name, column) in [
    ("old", "old log-probability"), ("reference", "reference log-probability"), ("written", "written log-probability"),
  ] where answers[0][name] != nil {
    var values = [Float](repeating: 0, count: batch.tokenCount)
    for (document, answer) in answers.enumerated() {
      let first = batch.rows(ofDocument: document).lowerBound + ids(answer, "prompt").count - 1
      for (offset, value) in (answer[name]?.arrayValue ?? []).enumerated() {
        values[first + offset] = Float(value.doubleValue ?? 0)
      }
    }
    batch[TokenColumn(column)] = values
  }
  let parameters = try Parameters(modelDirectory: model)
  let engine = try CPUEngineProvider(threads: 2).makeEngine(
    .whole(parameters), EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: .adamW))
  let objective = PolicyObjective(loss, rewards: [])
  var sums = objective.noSums
  engine.zeroGradients()
  objective.forwardBackward(engine, batch, addingTo: &sums)
  let numbers = sums.means
  let table = parameters.table
  let writer = try SafetensorsWriter(
    output,
    tensors: numbers.map { .init(name: $0.name, type: .float32, shape: [1]) }
      + table.entries.map { .init(name: $0.key, type: .float32, shape: $0.shape) })
  for (_, value) in numbers { try [Float(value)].withUnsafeBufferPointer { try writer.append($0) } }
  for entry in table.entries {
    let mean = engine.read(.gradients, of: entry).map { $0 / Float(sums.weight("loss")) }
    try mean.withUnsafeBufferPointer { try writer.append($0) }
  }
  try writer.commit()
}
