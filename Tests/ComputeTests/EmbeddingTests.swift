import Compute
import Model
import Reference
import TestSupport
import Testing

struct EmbeddingTests {
  private static let tokens: [Int32] = [3, 0, 3, 9, 3]
  private static let vocabulary = 10

  @Test("the forward pass copies the tokens' rows", arguments: oddSizes, Layout.all)
  func forward(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    for tableType in ElementType.allCases {
      for outputType in ElementType.allCases {
        let table = GuardedMatrix(
          randomFloats(Self.vocabulary * width, using: &generator), rows: Self.vocabulary, columns: width,
          type: tableType, layout: layout)
        let output = GuardedMatrix(zeros: Self.tokens.count, columns: width, type: outputType, layout: layout)
        embeddingForward(tokens: Self.tokens, table: table.view, output: output.view)
        let expected = Reference.embeddingForward(
          tokens: Self.tokens.map(Int.init), table: table.values, width: width)
        #expect(output.values == (outputType == .float32 ? expected : expected.map { BFloat16($0).float }))
        #expect(areIntactOutside(table, output))
      }
    }
  }

  @Test("the backward pass adds each row, token by token, on top of what is there", arguments: oddSizes, Layout.all)
  func backward(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    for type in ElementType.allCases {
      let dOutput = GuardedMatrix(
        randomFloats(Self.tokens.count * width, using: &generator), rows: Self.tokens.count, columns: width,
        type: type, layout: layout)
      let start = randomFloats(Self.vocabulary * width, using: &generator)
      let dTable = GuardedMatrix(start, rows: Self.vocabulary, columns: width, layout: layout)
      let before = dOutput.values
      embeddingBackward(tokens: Self.tokens, dOutput: dOutput.view, dTable: dTable.view)
      let expected = Reference.embeddingBackward(
        tokens: Self.tokens.map(Int.init), dOutput: dOutput.doubles, vocabulary: Self.vocabulary, width: width)
      // Up to three additions of numbers of at most 2 to one of at most 2.
      expectClose(
        dTable.values, zip(start, expected).map { Double($0) + $1 }, error: 3 * 8 * floatRoundoff, "dTable")
      #expect(dOutput.values == before)
      #expect(areIntactOutside(dOutput, dTable))

      // Workers share out columns: the same bits.
      let cut = width / 3
      let inParts = GuardedMatrix(start, rows: Self.vocabulary, columns: width, layout: layout)
      for part in [0..<cut, cut..<width] {
        embeddingBackward(
          tokens: Self.tokens, dOutput: dOutput.view.columns(part), dTable: inParts.view.columns(part))
      }
      #expect(inParts.values == dTable.values)
    }
  }
}
