import CPUEngine
import Compute
import Model
import ModelFiles
import Storage

/// A model that sees, on documents with pictures: `tokens` [tokens] as one document, and `pictures`, each `at` a token with its
/// `pixels`. Writes the logits, the same by way of an encoder, the mean loss of predicting each next token, and its gradient
/// with respect to every weight; of a model with an adapter, every weight of the adapter.
func writeSight(model path: String, case casePath: String, output: String) throws {
  let directory = try resolveModelDirectory(path)
  let model = try readTrainedModel(directory)
  let parameters = try Parameters(modelDirectory: directory)
  let configuration = parameters.configuration
  guard let sight = configuration.sight else { throw ProbeError(description: "\(path) does not see") }
  let json = try JSON(contentsOf: casePath)
  let tokens = (json["tokens"]?.arrayValue ?? []).compactMap { $0.integerValue.map(Int32.init) }
  let pictures = (json["pictures"]?.arrayValue ?? []).map { picture in
    (at: picture["at"]?.integerValue ?? 0, pixels: numbers(picture["pixels"]))
  }
  func batch() -> Batch {
    Batch(
      tokens: tokens, targets: Array(tokens.dropFirst()) + [0],
      lossWeights: tokens.indices.map { $0 == tokens.count - 1 ? 0 : 1 },
      documentOffsets: [0, Int32(tokens.count)])
  }
  var seen = batch()
  for (at, pixels) in pictures {
    seen.see(BatchPicture(rows: at..<at + sight.rowsPerPicture, values: .pixels(pixels)))
  }
  let team = WorkerTeam(count: 2)
  let encoder = try CPUPictureEncoder(configuration, precision: .float32, team: team) { entry, target in
    target.update(from: parameters[entry.key].baseAddress!, count: entry.count)
  }
  var embedded = batch()
  for (picture, values) in zip(pictures, try encoder.rows(pictures.map(\.pixels))) {
    embedded.embed(EmbeddedSpan(rows: picture.at..<picture.at + sight.rowsPerPicture, values: values))
  }
  let pass = try TrainingPass(model, precision: .float32, maximumTokens: tokens.count, team: team)
  pass.zeroGradients()
  let sum = pass.forwardBackward(seen)
  guard let gradients = pass.gradients else { throw ProbeError(description: "no gradients") }
  let shape = [tokens.count, configuration.vocabularySize]
  try write(
    [
      ("logits", shape, pass.logits(seen)), ("logits_by_encoder", shape, pass.logits(embedded)),
      ("loss", [1], [Float(sum.loss / sum.weight)]),
    ]
      + model.trained.table.entries.map { entry in
        (entry.key, entry.shape, entry.range.map { gradients[$0] / Float(sum.weight) })
      }, to: output)
}

/// A tower: `pixels` of each of the `pictures`, and `slopes`, by which its last hidden state is multiplied and summed up. Writes
/// `last_hidden_state` and the gradient of that sum with respect to every weight.
func writeTower(directory: String, case casePath: String, output: String) throws {
  let stored = try StoredTower(directory: directory)
  let tower = stored.configuration
  let sight = SightConfiguration(
    tower: tower, projector: ProjectorConfiguration(kind: .linear), placeholderIDs: [0])
  let width = tower.hiddenSize
  let table = ParameterTable(sight, width: width)
  let weights = try ParameterBlock(zeroed: table)
  let gradients = try ParameterBlock(zeroed: table)
  for entry in table.entries {
    if case .tower = entry.role { try stored.read(entry, weights.values + entry.offset) }
    // What lies behind the tower changes nothing.
    guard entry.role == .projector(.first) else { continue }
    for index in 0..<width { weights.values[entry.offset + index * width + index] = 1 }
  }
  let json = try JSON(contentsOf: casePath)
  let pictures = (json["pictures"]?.arrayValue ?? []).map(numbers)
  let slopes = numbers(json["slopes"])
  let pass = try SightPass(
    sight, width: width, precision: .float32, weights: weights.buffer.base, table: table,
    exact: SightVectors(base: weights.values, table: table), gradients: gradients.values, trainsTower: true,
    pictures: pictures.count, team: WorkerTeam(count: 2))
  _ = pass.forward(pictures.map { .pixels($0) })
  pass.backward { row, target in
    for column in 0..<width { target.floats[column] = slopes[row * width + column] }
  }
  try write(
    [("last_hidden_state", [pictures.count, tower.featureRows, width], Array(pass.towerFeatures.joined()))]
      + table.entries.map { entry in (entry.key, entry.shape, entry.range.map { gradients.values[$0] }) }, to: output)
}

private func numbers(_ json: JSON?) -> [Float] {
  (json?.arrayValue ?? []).compactMap { $0.doubleValue.map(Float.init) }
}

private func write(_ tensors: [(name: String, shape: [Int], values: [Float])], to path: String) throws {
  let writer = try SafetensorsWriter(
    path, tensors: tensors.map { .init(name: $0.name, type: .float32, shape: $0.shape) })
  for tensor in tensors { try tensor.values.withUnsafeBufferPointer { try writer.append($0) } }
  try writer.commit()
}
