import Compute
import ReferenceKernels
import TestSupport
import Testing

/// The kernels of decoding besides products with weights: one row of activations against a cache.
struct DecodeKernelTests {
  @Test("one query over a cache agrees with the plain attention", arguments: [2, 12, 16, 20, 32, 48, 128], Layout.all)
  func attention(headSize: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(headSize))
    for type in ElementType.allCases {
      for positions in [1, 2, 3, 5, 15, 16, 17, 64, 200] {
        func random() -> GuardedMatrix {
          GuardedMatrix(
            randomFloats(positions * headSize, using: &generator), rows: positions, columns: headSize, type: type,
            layout: layout)
        }
        let (keys, values) = (random(), random())
        let query = GuardedMatrix(randomFloats(headSize, using: &generator), rows: 1, columns: headSize)
        let scores = GuardedMatrix(zeros: 1, columns: positions)
        let output = GuardedMatrix(zeros: 1, columns: headSize, layout: layout)
        cachedAttention(
          query: query.floats, keys: keys.view, values: values.view, scores: scores.floats, output: output.floats)

        var fused: [Double] = []
        for position in 0..<positions {
          let range = position * headSize..<(position + 1) * headSize
          fused += query.doubles + Array(keys.doubles[range]) + Array(values.doubles[range])
        }
        let shape = Reference.AttentionShape(
          headCount: 1, keyValueHeadCount: 1, headSize: headSize, documentOffsets: [0, positions])
        let expected = Array(Reference.attentionForward(queriesKeysValues: fused, shape).suffix(headSize))
        // A score is a sum of at most headSize products of up to 4, over √headSize; its error is one of the weights'.
        let scoreError = 4 * Double(headSize).squareRoot() * (Double(headSize) / 16 + 8) * floatRoundoff
        let error = 2 * (2 * scoreError + (Double(positions) / 4 + 16) * floatRoundoff)
        expectClose(
          output.values, expected, errors: expected.map { _ in error }, "\(type), \(positions) positions")
        #expect(areIntactOutside(keys, values, query, scores, output))
      }
    }
  }

  @Test("attention weights that are all alike, and scores that would overflow an exponential")
  func extremes() {
    for (query, expected) in [(Float(0), Float(1.5)), (1e18, 2)] {
      let keys = GuardedMatrix([0, 0, 1e18, 0], rows: 2, columns: 2)
      let values = GuardedMatrix([1, 1, 2, 2], rows: 2, columns: 2)
      let queries = GuardedMatrix([query, 0], rows: 1, columns: 2)
      let scores = GuardedMatrix(zeros: 1, columns: 2)
      let output = GuardedMatrix(zeros: 1, columns: 2)
      cachedAttention(
        query: queries.floats, keys: keys.view, values: values.view, scores: scores.floats, output: output.floats)
      #expect(output.values == [expected, expected])
    }
  }
}
