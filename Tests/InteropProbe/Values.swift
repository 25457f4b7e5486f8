import CPUEngine
import Model
import ModelFiles
import Storage
import Training

/// Writes PPO's advantages and returns of answers, the loss, what is reported, and the gradient of every weight and of the head.
func writeValues(model: String, case path: String, output: String) throws {
  let json = try JSON(contentsOf: path)
  func number(_ name: String) -> Double { json[name]?.doubleValue ?? 0 }
  func floats(_ json: JSON?) -> [Float] { (json?.arrayValue ?? []).map { Float($0.doubleValue ?? 0) } }
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
  batch[DocumentColumn("reward")] = answers.map { Float($0["reward"]?.doubleValue ?? 0) }
  for (name, column) in [
    ("old", "old log-probability"), ("reference", "reference log-probability"), ("old_values", "old value"),
  ] {
    var values = [Float](repeating: 0, count: batch.tokenCount)
    for (document, answer) in answers.enumerated() {
      let first = batch.rows(ofDocument: document).lowerBound + ids(answer, "prompt").count - 1
      for (offset, value) in floats(answer[name]).enumerated() { values[first + offset] = value }
    }
    batch[TokenColumn(column)] = values
  }
  var batches = [batch]
  AdvantageEstimation(discount: number("gamma"), lambda: number("lambda"), beta: number("beta")).fill(&batches)
  batch = batches[0]

  let parameters = try Parameters(modelDirectory: model)
  let engine = try CPUEngineProvider(threads: 2).makeEngine(
    .whole(parameters), EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: .adamW))
  let head = ValueHead(floats(json["head"]))
  let policy = PolicyLoss(
    .dapo, clipLow: number("clip_low"), clipHigh: number("clip_high"), beta: 0, importanceLimit: 0, maximumTokens: 1)
  let objective = ValuedPolicyObjective(
    PolicyObjective(policy, rewards: []),
    ValueLoss(clip: number("value_clip"), coefficient: number("value_coefficient")), head: head)
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
  let table = parameters.table
  let writer = try SafetensorsWriter(
    output,
    tensors: vectors.map { .init(name: $0.0, type: .float32, shape: [$0.1.count]) }
      + table.entries.map { .init(name: $0.key, type: .float32, shape: $0.shape) })
  for (_, values) in vectors { try values.withUnsafeBufferPointer { try writer.append($0) } }
  for entry in table.entries {
    let gradient = engine.read(.gradients, of: entry).map { $0 * Float(mean) }
    try gradient.withUnsafeBufferPointer { try writer.append($0) }
  }
  try writer.commit()
}
