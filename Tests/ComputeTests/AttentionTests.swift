import Compute
import Model
import Reference
import Testing

struct AttentionTests {
  static let lengths = [1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129]

  @Test(
    "agrees with the plain twin at every head size", arguments: [2, 4, 8, 16, 32, 48, 64, 80, 128, 256],
    ElementType.allCases)
  func headSizes(headSize: Int, type: ElementType) throws {
    try AttentionCase(headSize: headSize, type: type, lengths: Self.lengths).expectAgreement()
  }

  @Test("agrees with the plain twin at every group size", arguments: [1, 2, 3, 4, 5, 8], ElementType.allCases)
  func groupSizes(groupSize: Int, type: ElementType) throws {
    try AttentionCase(
      heads: 2 * groupSize, keyValueHeads: 2, headSize: 32, type: type, lengths: Self.lengths, seed: 2
    ).expectAgreement()
  }

  @Test("agrees with the plain twin on long documents", arguments: [512, 700], ElementType.allCases)
  func longDocuments(length: Int, type: ElementType) throws {
    try AttentionCase(
      heads: 2, keyValueHeads: 1, headSize: 48, type: type, lengths: [length], seed: 3, spread: 2
    ).expectAgreement()
  }

  @Test("agrees with the plain twin where every token sees the whole document", arguments: ElementType.allCases)
  func withoutMask(type: ElementType) throws {
    for (heads, headSize) in [(4, 32), (2, 16), (12, 64)] {
      try AttentionCase(
        heads: heads, keyValueHeads: heads, headSize: headSize, isCausal: false, type: type, lengths: Self.lengths,
        seed: 8
      ).expectAgreement()
    }
    try AttentionCase(headSize: 20, isCausal: false, type: type, lengths: [197, 50], seed: 9).expectAgreement()
  }

  @Test("takes documents without tokens", arguments: ElementType.allCases)
  func emptyDocuments(type: ElementType) throws {
    try AttentionCase(headSize: 16, type: type, lengths: [0, 5, 0, 40, 0]).expectAgreement()
  }
}

struct AttentionIsolationTests {
  /// Two documents, the second longer than two blocks of keys.
  private static func twoDocuments(_ type: ElementType) -> AttentionCase {
    AttentionCase(headSize: 32, type: type, lengths: [40, 150], seed: 4)
  }

  @Test("a document does not depend on the others, to the bit", arguments: ElementType.allCases)
  func documentsAreApart(type: ElementType) throws {
    let data = Self.twoDocuments(type)
    let (fused, output, heads) = (40 * data.shape.fusedWidth, 40 * data.shape.outputWidth, 40 * data.shape.headCount)
    let result = try data.run()
    var changed = data
    for index in 0..<fused { changed.queriesKeysValues[index] = .nan }
    for index in 0..<output { changed.dOutput[index] = .infinity }
    let other = try changed.run()
    #expect(other.output[..<output].allSatisfy { $0.isNaN })
    #expect(other.gradient[..<fused].allSatisfy { $0.isNaN })
    #expect(other.output[output...] == result.output[output...])
    #expect(other.gradient[fused...] == result.gradient[fused...])
    #expect(other.logSumExp[heads...] == result.logSumExp[heads...])
  }

  @Test("a token does not depend on later ones, to the bit", arguments: [41, 70, 105, 188], ElementType.allCases)
  func noLookAhead(last: Int, type: ElementType) throws {
    let data = Self.twoDocuments(type)
    let end = last + 1
    let (fused, output, heads) = (
      end * data.shape.fusedWidth, end * data.shape.outputWidth, end * data.shape.headCount
    )
    var silent = data
    // Without gradient at later outputs, later keys and values get none, and earlier ones none from there.
    for index in output..<data.dOutput.count { silent.dOutput[index] = 0 }
    var changed = silent
    for index in fused..<data.queriesKeysValues.count { changed.queriesKeysValues[index] *= -2 }
    let result = try silent.run()
    let other = try changed.run()
    #expect(other.output[..<output] == result.output[..<output])
    #expect(other.output[output...] != result.output[output...])
    #expect(other.logSumExp[..<heads] == result.logSumExp[..<heads])
    #expect(other.gradient[..<fused] == result.gradient[..<fused])
    #expect(result.gradient[fused...].allSatisfy { $0 == 0 })
  }

  @Test(
    "a call writes the rows of its document and the columns of its group, and nothing else",
    arguments: ElementType.allCases)
  func writesItsPartOnly(type: ElementType) throws {
    let data = Self.twoDocuments(type)
    let shape = data.shape
    let scratch = try AttentionScratch(shape: shape, maximumSequenceLength: 150)
    let fused = GuardedMatrix(data.queriesKeysValues, rows: 190, columns: shape.fusedWidth, type: type)
    let dOutput = GuardedMatrix(data.dOutput, rows: 190, columns: shape.outputWidth, type: type)
    let output = GuardedMatrix(
      [Float](repeating: .nan, count: 190 * shape.outputWidth), rows: 190, columns: shape.outputWidth, type: type)
    let gradient = GuardedMatrix(
      [Float](repeating: .nan, count: 190 * shape.fusedWidth), rows: 190, columns: shape.fusedWidth, type: type)
    var logSumExp = [Float](repeating: .nan, count: 190 * shape.headCount)
    data.offsets.withUnsafeBufferPointer { offsets in
      attentionForward(
        queriesKeysValues: fused.view, shape: shape, documents: offsets, keyValueHead: 1, document: 0,
        output: output.view, logSumExp: &logSumExp, scratch: scratch)
      attentionBackward(
        dOutput: dOutput.view, output: output.view, queriesKeysValues: fused.view, logSumExp: logSumExp,
        shape: shape, documents: offsets, keyValueHead: 1, document: 0, dQueriesKeysValues: gradient.view,
        scratch: scratch)
    }
    /// Exactly the first 40 rows of these columns are numbers.
    func expectWritten(_ values: [Float], width: Int, _ columns: Set<Int>) {
      #expect(values.indices.allSatisfy { values[$0].isNaN != ($0 / width < 40 && columns.contains($0 % width)) })
    }
    // Head 1 of two, with the query heads 2 and 3 of four; keys begin at column 4·32, values at 6·32.
    expectWritten(output.values, width: shape.outputWidth, Set(64..<128))
    expectWritten(logSumExp, width: shape.headCount, [2, 3])
    expectWritten(gradient.values, width: shape.fusedWidth, Set(64..<128).union(160..<192).union(224..<256))
  }

  @Test(
    "scores in the thousands and millions stay finite and right", arguments: [Float(30), 1000], ElementType.allCases)
  func largeScores(spread: Float, type: ElementType) throws {
    let data = AttentionCase(headSize: 32, type: type, lengths: [100, 3], seed: 5, spread: spread)
    let result = try data.run()
    #expect(result.output.allSatisfy { $0.isFinite && abs($0) <= 1.01 * spread })
    #expect(result.logSumExp.allSatisfy { $0.isFinite })
    #expect(result.gradient.allSatisfy { $0.isFinite })
    // Such a softmax is nearly one-hot: where one weight is all but everything, the output is its value.
    let reference = data.reference
    let fused = data.queriesKeysValues.map(Double.init)
    var checked = 0
    var wrong = 0
    for token in 0..<100 {
      for head in 0..<data.shape.headCount {
        let weights = Reference.attentionWeights(fused, reference, token: token, seen: 0..<token + 1, head: head)
        guard let best = weights.firstIndex(where: { $0 > 0.9999 }) else { continue }
        checked += 1
        for index in 0..<32 {
          let value = fused[reference.value(best, head: head) + index]
          let actual = Double(result.output[reference.output(token, head: head) + index])
          if !(abs(actual - value) <= 2e-3 * Double(spread) + 2 * type.roundoff * abs(value)) { wrong += 1 }
        }
      }
    }
    #expect(wrong == 0, "numbers that are not those of the best value")
    #expect(checked > 300)
  }

  @Test("the same call gives the same bits, whatever the scratch memory held before", arguments: ElementType.allCases)
  func leftoversDoNotMatter(type: ElementType) throws {
    let data = AttentionCase(headSize: 20, type: type, lengths: [33, 67], seed: 6)
    let expected = try data.run()
    let scratch = try AttentionScratch(shape: data.shape, maximumSequenceLength: 500)
    var spoilt = AttentionCase(headSize: 20, type: type, lengths: [500], seed: 7)
    for index in spoilt.queriesKeysValues.indices { spoilt.queriesKeysValues[index] = .nan }
    _ = try spoilt.run(scratch: scratch)
    #expect(try data.run(scratch: scratch) == expected)
  }
}
