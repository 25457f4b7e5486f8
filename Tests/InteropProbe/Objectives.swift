import CPUEngine
import Corpus
import Model
import ModelFiles
import Training

/// The loss and the gradients of pairs: model, reference, data, loss, β, sum or mean, output, and perhaps the number that
/// belongs to the loss (ε or γ).
func writePreferences(_ arguments: [String]) throws {
  guard let shape = PreferenceLoss.Shape(rawValue: arguments[4]), let beta = Double(arguments[5]) else {
    throw ProbeError(description: "\(arguments[4]) with \(arguments[5]) is no loss")
  }
  let split = try TokenShardDataset(directory: arguments[3]).training
  var sequence = try BatchSequence(
    split, sequenceLength: split.longestInput, documentsPerSample: 2, shuffleSeed: nil)
  var batch = Batch()
  _ = sequence.next(maximumTokens: split.inputTokenCount, into: &batch)
  let engines = CPUEngineProvider(threads: 2)
  var settings = EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: nil)
  let reference = try engines.makeEngine(.whole(Parameters(modelDirectory: arguments[2])), settings)
  let documents = reference.forward(batch, lossWeights: nil).documentSums(batch)
  var loss = PreferenceLoss(shape: shape, beta: beta, isLengthNormalized: arguments[6] == "mean")
  if arguments.count > 8, let value = Double(arguments[8]) { (loss.labelSmoothing, loss.simpoGamma) = (value, value) }
  let parameters = try Parameters(modelDirectory: arguments[1])
  settings.optimizer = .adamW
  let engine = try engines.makeEngine(.whole(parameters), settings)
  let objective: any Objective =
    shape.needsReference
    ? PreferenceObjective(loss, reference: documents.map { -$0.loss }) : PreferenceObjective(loss, reference: nil)
  try writeObjective(objective, engine, batch, parameters.table, to: arguments[7])
}

/// KTO's loss and gradients: model, reference, data, β, weight of desirable and of undesirable answers, output.
func writeUnpairedPreferences(_ arguments: [String]) throws {
  let numbers = arguments[4...6].compactMap { Double($0) }
  guard numbers.count == 3 else { throw ProbeError(description: "\(arguments[4...6]) are not three numbers") }
  var loss = KTOLoss(beta: numbers[0])
  (loss.desirableWeight, loss.undesirableWeight) = (numbers[1], numbers[2])
  let split = try TokenShardDataset(directory: arguments[3]).training
  let batchTokens = split.inputTokenCount + split.longestInput
  let mismatched = MismatchedAnswers(split, sequenceLength: 2 * split.longestInput, batchTokens: batchTokens)
  var sequence = try BatchSequence(split, sequenceLength: split.longestInput, shuffleSeed: nil)
  var batch = Batch()
  _ = sequence.next(maximumTokens: split.inputTokenCount, into: &batch)
  let engines = CPUEngineProvider(threads: 2)
  var settings = EngineSettings(precision: .float32, maximumTokens: batchTokens, optimizer: nil)
  let reference = try engines.makeEngine(.whole(Parameters(modelDirectory: arguments[2])), settings)
  let documents = reference.forward(batch, lossWeights: nil).documentSums(batch)
  let others = mismatched.logProbabilities(batch.documentNumbers, by: reference)
  let parameters = try Parameters(modelDirectory: arguments[1])
  settings.optimizer = .adamW
  let engine = try engines.makeEngine(.whole(parameters), settings)
  let objective = KTOObjective(
    loss, split, mismatched: mismatched, reference: documents.map { -$0.loss }, mismatchedReference: others)
  try writeObjective(objective, engine, batch, parameters.table, to: arguments[7])
}

/// Writes what an objective reports of a batch, and the gradient of every weight.
func writeObjective(
  _ objective: any Objective, _ engine: any TrainingEngine, _ batch: Batch, _ table: ParameterTable, to path: String
) throws {
  var sums = objective.noSums
  engine.zeroGradients()
  objective.forwardBackward(engine, batch, addingTo: &sums)
  try write(sums, gradientsOf: engine, table, to: path)
}

private func write(
  _ sums: MetricSums, gradientsOf engine: any TrainingEngine, _ table: ParameterTable, to path: String
) throws {
  let numbers = sums.means
  guard !numbers.isEmpty else { throw ProbeError(description: "nothing was compared") }
  try write(
    numbers.map { ($0.0, [Float($0.1)]) }, scale: 1 / sums.weight("loss"), gradientsOf: engine, table, to: path)
}

/// Writes vectors, and the gradient of every weight times `scale`.
func write(
  _ vectors: [(name: String, values: [Float])], scale: Double, gradientsOf engine: any TrainingEngine,
  _ table: ParameterTable, to path: String
) throws {
  let writer = try SafetensorsWriter(
    path,
    tensors: vectors.map { .init(name: $0.name, type: .float32, shape: [$0.values.count]) }
      + table.entries.map { .init(name: $0.key, type: .float32, shape: $0.shape) })
  for (_, values) in vectors { try values.withUnsafeBufferPointer { try writer.append($0) } }
  for entry in table.entries {
    let gradient = engine.read(.gradients, of: entry).map { $0 * Float(scale) }
    try gradient.withUnsafeBufferPointer { try writer.append($0) }
  }
  try writer.commit()
}

/// The loss and the gradients of a model with a teacher, over documents; of the teacher's likeliest tokens alone, if a number of
/// them is given.
func writeDistillation(_ arguments: [String]) throws {
  let numbers = arguments[4...6].compactMap { Double($0) }
  guard numbers.count == 3 else { throw ProbeError(description: "\(arguments[4...6]) are not three numbers") }
  let distillation = Distillation(
    textShare: numbers[0], temperature: numbers[1], mixture: numbers[2],
    top: arguments.count > 8 ? Int(arguments[8]) : nil)
  let engines = CPUEngineProvider(threads: 2)
  let parameters = try Parameters(modelDirectory: arguments[1])
  let batch = try readBatch(arguments[3], vocabularySize: parameters.configuration.vocabularySize)
  var settings = EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: .adamW)
  let engine = try engines.makeEngine(.whole(parameters), settings)
  settings.optimizer = nil
  let teacher = try engines.makeEngine(.whole(Parameters(modelDirectory: arguments[2])), settings)
  guard let engine = engine as? any DistillingEngine else { throw ProbeError(description: "no engine for a teacher") }
  engine.zeroGradients()
  let found = engine.forwardBackward(
    batch, lossWeights: batch.lossWeights, distillation, teacher: teacher, tokensBefore: 0)
  var sums = MetricSums()
  for (name, losses) in [("loss", found.losses), ("cross_entropy", found.crossEntropies)] {
    let sum = losses.sum(batch)
    sums.add(name, sum.loss, weight: sum.weight)
  }
  try write(sums, gradientsOf: engine, parameters.table, to: arguments[7])
}

/// A reward model's loss and gradients.
func writeReward(model: String, data: String, output: String) throws {
  let split = try TokenShardDataset(directory: data).training
  var sequence = try BatchSequence(
    split, sequenceLength: split.longestInput + 1, documentsPerSample: 2, scores: true, shuffleSeed: nil)
  var batch = Batch()
  _ = sequence.next(maximumTokens: max(split.tokenCount, 2 * split.longestInput + 2), into: &batch)
  let parameters = try Parameters(modelDirectory: model)
  let engine = try CPUEngineProvider(threads: 2).makeEngine(
    .whole(parameters), EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: .adamW))
  try writeObjective(RewardObjective(), engine, batch, parameters.table, to: output)
}
