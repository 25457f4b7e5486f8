import Compute
import Model
import Reference
import TestSupport
import Testing

struct RotaryEmbeddingTests {
  static func settings(_ headSize: Int) -> RotarySettings {
    RotarySettings(headSize: headSize, theta: 10_000, trainedLength: 512)
  }

  @Test(
    "both directions agree with the plain twin", arguments: [2, 4, 6, 16, 30, 32, 34, 48, 64, 96, 128], Layout.all)
  func agrees(headSize: Int, layout: Layout) throws {
    let table = try RotaryTable(Self.settings(headSize), positions: 600)
    let positions: [Int32] = [0, 1, 5, 599, 0]
    var generator = SeededGenerator(seed: UInt64(headSize))
    for type in ElementType.allCases {
      for headCount in [1, 3] {
        for direction in [1.0, -1] {
          let width = headCount * headSize
          let heads = GuardedMatrix(
            randomFloats(positions.count * width, using: &generator), rows: positions.count, columns: width,
            type: type, layout: layout)
          let before = heads.doubles
          let turn = direction == 1 ? rotaryForward : rotaryBackward
          turn(heads.view, headSize, positions, table)
          let expected = Reference.rotary(
            before, width: width, headSize: headSize, positions: positions.map(Int.init), theta: 10_000,
            direction: direction)
          // Cosine, sine, two products and a sum round; the values are at most 2.
          expectClose(heads.values, expected, storedAs: type, error: 4 * 4 * floatRoundoff, "\(type), \(headCount)")
          #expect(heads.isIntactOutside)
        }
      }
    }
  }

  @Test("a turn keeps lengths, and products depend on the distance of the positions only")
  func distances() throws {
    let headSize = 32
    let table = try RotaryTable(Self.settings(headSize), positions: 1000)
    var generator = SeededGenerator(seed: 7)
    let (query, key) = (randomFloats(headSize, using: &generator), randomFloats(headSize, using: &generator))
    func product(_ queryPosition: Int32, _ keyPosition: Int32) -> Double {
      let heads = GuardedMatrix(query + key, rows: 2, columns: headSize)
      rotaryForward(heads.view, headSize: headSize, tableRows: [queryPosition, keyPosition], table: table)
      return dot(Array(heads.doubles[..<headSize]), Array(heads.doubles[headSize...]))
    }
    // 32 products of numbers up to 2·√2 in size, each turned with four roundings.
    let tolerance = 32 * 8 * 8 * floatRoundoff
    let plain = product(0, 0)
    #expect(abs(plain - dot(query.map(Double.init), key.map(Double.init))) <= tolerance)
    #expect(abs(product(700, 700) - plain) <= tolerance)
    #expect(abs(product(307, 300) - product(7, 0)) <= tolerance)
    #expect(abs(product(7, 0) - plain) > 0.01)
  }

  @Test("turning back undoes the turn")
  func inverse() throws {
    let table = try RotaryTable(Self.settings(48), positions: 20)
    var generator = SeededGenerator(seed: 8)
    let values = randomFloats(2 * 96, using: &generator)
    let heads = GuardedMatrix(values, rows: 2, columns: 96)
    rotaryForward(heads.view, headSize: 48, tableRows: [3, 19], table: table)
    #expect(heads.values != values)
    rotaryBackward(heads.view, headSize: 48, tableRows: [3, 19], table: table)
    expectClose(heads.values, values.map(Double.init), error: 2 * 4 * 4 * floatRoundoff, "heads")
  }
}
