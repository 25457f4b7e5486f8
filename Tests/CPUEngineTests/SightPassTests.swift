import Compute
import Model
import Reference
import TestSupport
import Testing

import CPUEngine

/// A small tower and projector with random weights, and what the pass and the plain twin make of pictures.
private struct SightCase {
  var sight: SightConfiguration
  let width = 6
  let table: ParameterTable
  let weights: ParameterBlock
  let gradients: ParameterBlock

  init(_ sight: SightConfiguration, seed: UInt64 = 1) throws {
    self.sight = sight
    try sight.validate(source: "test", vocabularySize: 10)
    table = ParameterTable(sight, width: width)
    weights = try ParameterBlock(zeroed: table)
    gradients = try ParameterBlock(zeroed: table)
    var generator = SeededGenerator(seed: seed)
    for entry in table.entries {
      for index in entry.range {
        weights.values[index] = Float.random(in: -0.6...0.6, using: &generator) + (entry.role.isNorm ? 1 : 0)
      }
    }
  }

  var reference: ReferenceSight {
    ReferenceSight(sight, width: width, weights: (0..<table.totalCount).map { Double(weights.values[$0]) })
  }

  func pictures(_ count: Int) -> [[Float]] {
    var generator = SeededGenerator(seed: 7)
    let side = sight.tower.imageSize
    return (0..<count).map { _ in (0..<3 * side * side).map { _ in Float.random(in: -1...1, using: &generator) } }
  }

  func pass(_ workers: Int, pictures: Int, trainsTower: Bool = true) throws -> SightPass {
    try SightPass(
      sight, width: width, precision: .float32, weights: UnsafeMutableRawPointer(weights.values), table: table,
      exact: SightVectors(base: weights.values, table: table), gradients: gradients.values, trainsTower: trainsTower,
      pictures: pictures, team: WorkerTeam(count: workers))
  }
}

private func numbers(_ view: MatrixView) -> [Float] {
  Array(UnsafeBufferPointer(start: view.floats, count: view.rows * view.columns))
}

@Suite("A tower and a projector")
struct SightPassTests {
  static let cases: [SightConfiguration] = [
    SightConfiguration(
      tower: VisionTowerConfiguration(
        kind: .clip, hiddenSize: 12, intermediateSize: 10, layerCount: 3, headCount: 3, imageSize: 9, patchSize: 4,
        feature: .init(layer: 2, isNormalized: false, dropsClassToken: true)),
      projector: ProjectorConfiguration(kind: .mlp), placeholderIDs: [3]),
    SightConfiguration(
      tower: VisionTowerConfiguration(
        kind: .siglip, hiddenSize: 16, intermediateSize: 20, layerCount: 2, headCount: 2, imageSize: 8, patchSize: 2),
      projector: ProjectorConfiguration(kind: .normalizedMLP, unshuffle: 2), placeholderIDs: [3]),
    SightConfiguration(
      tower: VisionTowerConfiguration(
        kind: .clip, hiddenSize: 8, intermediateSize: 6, layerCount: 1, headCount: 2, imageSize: 6, patchSize: 2,
        activation: .exact),
      projector: ProjectorConfiguration(kind: .linear), placeholderIDs: [3, 4]),
  ]

  @Test("make of a picture what the plain twins do, with one worker and with three", arguments: 0..<3)
  func forward(index: Int) throws {
    let data = try SightCase(Self.cases[index])
    let pictures = data.pictures(3)
    for workers in [1, 3] {
      let pass = try data.pass(workers, pictures: 3)
      let rows = numbers(pass.forward(pictures.map { .pixels($0) }))
      let features = pass.towerFeatures
      let expected = pictures.map { data.reference.features($0.map(Double.init)) }
      for (found, wanted) in zip(features.joined(), expected.joined()) { #expect(abs(Double(found) - wanted) < 2e-5) }
      let expectedRows = expected.flatMap { data.reference.rows(features: $0) }
      #expect(rows.count == 3 * data.sight.rowsPerPicture * data.width && rows.count == expectedRows.count)
      for (found, wanted) in zip(rows, expectedRows) { #expect(abs(Double(found) - wanted) < 5e-5) }
      guard workers == 1 else { continue }
      let again = try data.pass(1, pictures: 3, trainsTower: false)
      #expect(numbers(again.forward(features.map { .features($0) })) == rows, "from features")
    }
  }

  @Test("have the gradients of their plain twins by differences", arguments: 0..<3)
  func backward(index: Int) throws {
    let data = try SightCase(Self.cases[index])
    let pictures = data.pictures(2)
    let doubles = pictures.map { $0.map(Double.init) }
    let count = 2 * data.sight.rowsPerPicture * data.width
    var generator = SeededGenerator(seed: 3)
    let dRows = (0..<count).map { _ in Float.random(in: -1...1, using: &generator) }
    let pass = try data.pass(2, pictures: 2)
    _ = pass.forward(pictures.map { .pixels($0) })
    pass.backward { row, target in
      for column in 0..<data.width { target.floats[column] = dRows[row * data.width + column] }
    }
    let found = (0..<data.table.totalCount).map { Double(data.gradients.values[$0]) }
    let start = (0..<data.table.totalCount).map { Double(data.weights.values[$0]) }
    func loss(_ weights: [Double]) -> Double {
      let reference = ReferenceSight(data.sight, width: data.width, weights: weights)
      let rows = doubles.flatMap { reference.rows(features: reference.features($0)) }
      return zip(rows, dRows).reduce(0) { $0 + $1.0 * Double($1.1) }
    }
    for entry in data.table.entries {
      // A few of each weight: the first, the last and some between.
      for place in Set([0, entry.count / 3, entry.count / 2, entry.count - 1]) {
        let (index, step) = (entry.offset + place, 1e-4)
        var (above, below) = (start, start)
        above[index] += step
        below[index] -= step
        let expected = (loss(above) - loss(below)) / (2 * step)
        #expect(abs(found[index] - expected) < 2e-4 * max(1, abs(expected)), "\(entry.key)[\(place)]")
      }
    }
  }

  @Test("go through in parts with the bits of all at once; without the tower, its weights have no gradient")
  func parts() throws {
    let data = try SightCase(Self.cases[0])
    let tower = data.sight.tower
    // More than the tower takes at once.
    let count = TowerPass.capacity(tower, workers: 1) + 3
    let pictures = data.pictures(count)
    func gradients(_ trainsTower: Bool) throws -> [Float] {
      data.gradients.values.update(repeating: 0, count: data.table.totalCount)
      let pass = try data.pass(1, pictures: count, trainsTower: trainsTower)
      let rows = numbers(pass.forward(pictures.map { .pixels($0) }))
      let single = try data.pass(1, pictures: 1)
      let size = data.sight.rowsPerPicture * data.width
      for picture in [0, count - 1] {
        let alone = numbers(single.forward([.pixels(pictures[picture])]))
        for (a, b) in zip(alone, rows[picture * size..<(picture + 1) * size]) { #expect(abs(a - b) < 1e-4) }
      }
      pass.backward { row, target in target.floats.update(repeating: Float(row % 5) - 2, count: data.width) }
      return (0..<data.table.totalCount).map { data.gradients.values[$0] }
    }
    let whole = try gradients(true)
    let projectorAlone = try gradients(false)
    for entry in data.table.entries {
      let isTower = if case .tower = entry.role { true } else { false }
      // The last layer and the norm after it are not used; what is added to all keys changes no softmax.
      let unused = ["post_layernorm", "layers.2.", "k_proj.bias"]
      let isUsed = !unused.contains(where: entry.key.contains)
      if isTower {
        #expect(projectorAlone[entry.range].allSatisfy { $0 == 0 }, "\(entry.key)")
        if isUsed { #expect(whole[entry.range].contains { $0 != 0 }, "\(entry.key)") }
      } else {
        #expect(projectorAlone[entry.range] == whole[entry.range], "\(entry.key)")
      }
    }
  }

  @Test("an encoder gives a picture's rows whatever comes with it, and refuses another size by its numbers")
  func encoder() throws {
    let data = try SightCase(Self.cases[1])
    var configuration = ModelConfiguration(
      hiddenSize: data.width, layerCount: 1, headCount: 1, keyValueHeadCount: 1, vocabularySize: 10)
    configuration.sight = data.sight
    let encoder = try CPUPictureEncoder(
      configuration, precision: .float32, team: WorkerTeam(count: 2)
    ) { entry, target in
      target.update(from: data.weights.values + data.table.offset(entry.key), count: entry.count)
    }
    let pictures = data.pictures(3)
    let together = try encoder.rows(pictures)
    let expected = pictures.map { data.reference.rows(features: data.reference.features($0.map(Double.init))) }
    for (found, wanted) in zip(together.joined(), expected.joined()) { #expect(abs(Double(found) - wanted) < 5e-5) }
    #expect(throws: PictureSizeError(found: 5, expected: 8)) { try encoder.rows([[Float](repeating: 0, count: 5)]) }
  }
}
