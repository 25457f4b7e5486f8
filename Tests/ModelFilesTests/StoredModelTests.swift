import Foundation
import Model
import ModelFiles
import TestSupport
import Testing

@Suite("Models in files")
struct StoredModelTests {
  static let tokenizerDirectory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../Interop/fixtures/tokenizer").standardizedFileURL.path

  @Test(
    "rows of a weight are those of the whole weight",
    arguments: [ModelVariant.tied, .mixture, .normalizedMixtureOfOne],
    [WeightEncoding.float32, .bfloat16, .q8, .q4K])
  func rows(variant: ModelVariant, encoding: WeightEncoding) throws {
    var shape = variant.configuration
    (shape.hiddenSize, shape.headSize, shape.intermediateSize, shape.vocabularySize) = (256, 64, 256, 512)
    let parameters = try Parameters(configuration: shape, seed: 5)
    let formats: [any ModelFormat] = [HuggingFaceFormat(), GGUFFormat()]
    for format in formats where format.encodings.contains(encoding) {
      try withTemporaryDirectory { directory in
        let path = directory + "/model" + (format.ending ?? "")
        try format.write(
          StoredParameters(parameters, types: []), to: path,
          WriteSettings(encoding: encoding, tokenizerDirectory: Self.tokenizerDirectory))
        let stored = try StoredModel(modelDirectory: path)
        var count = 0
        for entry in stored.table.entries where entry.shape.count == 2 && stored.hasRows(entry) {
          var whole = [Float](repeating: 0, count: entry.count)
          try stored.read(entry, &whole)
          for range in [0..<1, entry.shape[0] / 3..<entry.shape[0], 0..<entry.shape[0]] {
            var rows = [Float](repeating: 0, count: range.count * entry.shape[1])
            try stored.readRows(entry, range, &rows)
            #expect(rows.elementsEqual(whole[range.lowerBound * entry.shape[1]..<range.upperBound * entry.shape[1]]))
          }
          count += 1
        }
        #expect(count >= 5)
      }
    }
  }
}
