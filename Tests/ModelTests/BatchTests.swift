import Model
import TestSupport
import Testing

@Suite("Batch")
struct BatchTests {
  @Test("a document's rows read all of its tokens but the last, and predict all but the first")
  func packing() {
    var batch = Batch()
    batch.append(document: [5, 6, 7, 8], number: 3, isTrained: { $0 > 1 })
    batch.append(count: 2, number: 9, token: { [Int32(1), 2][$0] })
    #expect(batch.tokens == [5, 6, 7, 1] && batch.targets == [6, 7, 8, 2])
    #expect(batch.lossWeights == [0, 1, 1, 1])
    #expect(batch.documentOffsets == [0, 3, 4] && batch.documentNumbers == [3, 9])
    #expect(batch.rows(ofDocument: 0) == 0..<3 && batch.rows(ofDocument: 1) == 3..<4)
    batch.removeAll(reserving: 8)
    #expect(batch == Batch())
  }

  @Test("a prompt's rows read its last token, too, and learn nothing")
  func prompts() {
    var batch = Batch()
    batch.append(prompt: [5, 6, 7])
    batch.append(prompt: [8])
    #expect(batch.tokens == [5, 6, 7, 8] && batch.lossWeights == [0, 0, 0, 0])
    #expect(batch.documentOffsets == [0, 3, 4] && batch.documentNumbers.isEmpty)
  }

  @Test(
    "what belongs to the documents that are kept is kept, and the rest is gone",
    arguments: [0..<3, 1..<3, 1..<2, 2..<2])
  func keeping(documents: Range<Int>) throws {
    let (advantage, old) = (DocumentColumn("advantage"), TokenColumn("old_log_probability"))
    var whole = Batch()
    for (number, length) in [3, 5, 2].enumerated() {
      whole.append(document: (0...length).map { Int32(10 * number + $0) }, number: number)
    }
    whole.embed(EmbeddedSpan(rows: 0..<1, values: [1, 2]))
    whole.embed(EmbeddedSpan(rows: 4..<6, values: [3, 4, 5, 6]))
    whole.see(BatchPicture(rows: 6..<8, values: .features([1])))
    whole.see(BatchPicture(rows: 9..<10, values: .pixels([2])))
    whole[old] = (0..<10).map(Float.init)
    whole[advantage] = [7, 8, 9]
    var batch = whole
    batch.keep(documents: documents)

    var expected = Batch()
    for number in documents {
      expected.append(document: (0...[3, 5, 2][number]).map { Int32(10 * number + $0) }, number: number)
    }
    #expect(batch.tokens == expected.tokens && batch.targets == expected.targets)
    #expect(batch.documentOffsets == expected.documentOffsets && batch.documentNumbers == Array(documents))
    let start = Int(whole.documentOffsets[documents.lowerBound])
    #expect(batch[old] == (start..<start + batch.tokenCount).map(Float.init))
    #expect(batch[advantage] == documents.map { Float($0 + 7) })
    let spans = whole.embedded.filter { $0.rows.lowerBound >= start && $0.rows.lowerBound < start + batch.tokenCount }
    #expect(batch.embedded.map(\.rows) == spans.map { $0.rows.lowerBound - start..<$0.rows.upperBound - start })
    #expect(batch.embedded.map(\.values) == spans.map(\.values))
    #expect(batch.embedded.map(\.digest) == spans.map(\.digest))
    let pictures = whole.pictures.filter {
      $0.rows.lowerBound >= start && $0.rows.lowerBound < start + batch.tokenCount
    }
    #expect(batch.pictures.map(\.rows) == pictures.map { $0.rows.lowerBound - start..<$0.rows.upperBound - start })
    #expect(batch.pictures.map(\.values) == pictures.map(\.values))
  }

  @Test("a column has one value a token, or one a document")
  func columns() async {
    await #expect(processExitsWith: .failure) {
      var batch = Batch()
      batch.append(document: [1, 2, 3])
      batch[TokenColumn("x")] = [1]
    }
    await #expect(processExitsWith: .failure) {
      var batch = Batch()
      batch.append(document: [1, 2, 3])
      batch[DocumentColumn("x")] = [1, 2]
    }
    await #expect(processExitsWith: .failure) {
      var batch = Batch()
      batch.append(document: [1, 2, 3])
      batch[DocumentColumn("x")] = [1]
      batch.append(document: [1, 2, 3])
    }
  }

  @Test("an embedded span lies in one document, after earlier spans")
  func spans() async {
    await #expect(processExitsWith: .failure) {
      var batch = Batch()
      batch.append(document: [1, 2, 3])
      batch.append(document: [1, 2, 3])
      batch.embed(EmbeddedSpan(rows: 1..<3, values: [1, 2]))
    }
    await #expect(processExitsWith: .failure) {
      var batch = Batch()
      batch.append(document: [1, 2, 3])
      batch.embed(EmbeddedSpan(rows: 1..<2, values: [1]))
      batch.embed(EmbeddedSpan(rows: 0..<1, values: [1]))
    }
  }

  @Test("spans of other values have another digest, those of the same values the same")
  func digests() {
    let span = EmbeddedSpan(rows: 0..<2, values: [1, 2, 3, 4])
    #expect(span.digest == EmbeddedSpan(rows: 5..<7, values: [1, 2, 3, 4]).digest && span.columns == 2)
    #expect(span.digest != EmbeddedSpan(rows: 0..<2, values: [1, 2, 3, 5]).digest)
  }
}
