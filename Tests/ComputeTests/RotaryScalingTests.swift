import Compute
import Foundation
import Model
import TestSupport
import Testing

struct RotaryScalingTests {
  /// A model of heads of 32, trained on 64 tokens.
  static func settings(_ scaling: RotaryScaling, theta: Double = 10_000) -> RotarySettings {
    RotarySettings(headSize: 32, theta: theta, trainedLength: 64, scaling: scaling)
  }

  static let head: [Float] = {
    var generator = SeededGenerator(seed: 11)
    return randomFloats(32, using: &generator)
  }()

  /// The head of above, turned by rows of a table.
  static func turned(_ table: RotaryTable, rows: [Int]) -> [Float] {
    let heads = GuardedMatrix(rows.flatMap { _ in head }, rows: rows.count, columns: 32)
    rotaryForward(heads.view, headSize: 32, tableRows: rows.map(Int32.init), table: table)
    return heads.values
  }

  @Test("linear scaling by four turns position 4·p as p")
  func linear() throws {
    let plain = try RotaryTable(Self.settings(.none), positions: 100)
    let scaled = try RotaryTable(Self.settings(.linear(factor: 4)), positions: 400)
    let positions = [0, 1, 17, 63, 99]
    // The same angle by two ways of Double; one rounding of the result to Float.
    expectClose(
      Self.turned(scaled, rows: positions.map { 4 * $0 }), Self.turned(plain, rows: positions).map(Double.init),
      error: 4 * floatRoundoff, "heads")
  }

  @Test("dynamic scaling is a larger θ for a document beyond the trained length, and none for others in its batch")
  func dynamic() throws {
    let table = try RotaryTable(Self.settings(.dynamic(factor: 2)), positions: 300)
    let documents = [0..<40, 40..<140, 140..<300, 60..<124]
    for document in documents {
      let length = document.count
      let first = table.firstRow(ofDocument: document)
      let growth = 2 * Double(length) / 64 - 1
      let theta = length <= 64 ? 10_000 : 10_000 * pow(growth, 32.0 / 30)
      let plain = try RotaryTable(Self.settings(.none, theta: theta), positions: length)
      #expect(
        Self.turned(table, rows: (0..<length).map { first + $0 }) == Self.turned(plain, rows: Array(0..<length)))
    }
    // Documents that do not overlap keep their rows side by side.
    let rows = documents[..<3].map(table.firstRow)
    let first = Self.turned(table, rows: [rows[1] + 99])
    _ = table.firstRow(ofDocument: documents[2])
    #expect(Self.turned(table, rows: [rows[1] + 99]) == first)
  }

  @Test("without a document, dynamic scaling turns a position as in a sequence that ends there")
  func dynamicByToken() throws {
    let table = try RotaryTable(Self.settings(.dynamic(factor: 2)), positions: 128)
    for length in [1, 64, 65, 128] {
      let first = table.firstRow(ofDocument: 0..<length)
      #expect(Self.turned(table, rows: [length - 1]) == Self.turned(table, rows: [first + length - 1]))
    }
  }

  @Test("YaRN leaves fast pairs, slows slow ones by the factor, and makes heads longer by its attention factor")
  func yarn() throws {
    let yarn = YaRN(factor: 4, originalLength: 64)
    let (plain, scaled) = (Self.settings(.none), Self.settings(.yarn(yarn)))
    let ratios = zip(scaled.frequencies(length: 1), plain.frequencies(length: 1)).map { $0 / $1 }
    // 64 tokens hold 64·θ^(-2i/32)/2π turns of pair i: never 32, and one at i = 4.03, which is rounded up to 5.
    #expect(ratios[0] == 1)
    #expect(ratios[5...].allSatisfy { abs($0 - 0.25) < 1e-12 })
    #expect(zip(ratios, ratios[1...5]).allSatisfy { $0 > $1 })
    #expect(abs(ratios[2] - (1 - 0.4 + 0.4 / 4)) < 1e-12)

    let table = try RotaryTable(scaled, positions: 10)
    let factor = 0.1 * log(4.0) + 1
    expectClose(
      Self.turned(table, rows: [0]), Self.head.map { Double($0) * factor }, error: 2 * floatRoundoff, "position 0")
    #expect(YaRN(factor: 1, originalLength: 64).attentionFactor == 1)
  }

  @Test("Llama 3.1's scaling leaves fast pairs, slows slow ones by the factor, and those between by their turns")
  func llama3() throws {
    let (plain, scaled) = (
      Self.settings(.none), Self.settings(.llama3(Llama3Scaling(factor: 8, originalLength: 64)))
    )
    let ratios = zip(scaled.frequencies(length: 1), plain.frequencies(length: 1)).map { $0 / $1 }
    // 64 tokens hold 10.2, 5.7, 3.22, 1.81, 1.02 and 0.57 turns of the first pairs.
    #expect(ratios[..<2] == [1, 1])
    let turns = 64 / (2 * Double.pi) * pow(10_000, -4.0 / 32)
    let fastness = (turns - 1) / 3
    #expect(abs(ratios[2] - ((1 - fastness) / 8 + fastness)) < 1e-12)
    #expect(zip(ratios[1...], ratios[2...5]).allSatisfy { $0 > $1 } && ratios[4] > 0.125)
    #expect(ratios[5...].allSatisfy { abs($0 - 0.125) < 1e-12 })
    #expect(scaled.amplitude == 1)
  }

  @Test("the way back is the transpose, whatever the scaling")
  func adjoint() throws {
    let scalings: [RotaryScaling] = [
      .linear(factor: 3), .dynamic(factor: 2), .yarn(YaRN(factor: 4, originalLength: 64)),
      .llama3(Llama3Scaling(factor: 4, originalLength: 64)),
    ]
    for scaling in scalings {
      let table = try RotaryTable(Self.settings(scaling), positions: 200)
      let first = table.firstRow(ofDocument: 0..<200)
      var generator = SeededGenerator(seed: 5)
      let values = (0..<2).map { _ in randomFloats(3 * 32, using: &generator) }
      let rows = [0, 90, 199].map { Int32(first + $0) }
      let forward = GuardedMatrix(values[0], rows: 3, columns: 32)
      let backward = GuardedMatrix(values[1], rows: 3, columns: 32)
      rotaryForward(forward.view, headSize: 32, tableRows: rows, table: table)
      rotaryBackward(backward.view, headSize: 32, tableRows: rows, table: table)
      // ⟨R·x, y⟩ = ⟨x, Rᵀ·y⟩: sums of 96 products of numbers up to 2.
      let difference =
        dot(forward.doubles, values[1].map(Double.init)) - dot(values[0].map(Double.init), backward.doubles)
      #expect(abs(difference) < 96 * 8 * floatRoundoff)
    }
  }
}
