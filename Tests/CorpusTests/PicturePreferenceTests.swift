import Foundation
import Model
import TestSupport
import Testing
import Vision

import Corpus

@Suite("Preferences about pictures")
struct PicturePreferenceTests {
  private typealias Pictures = PictureDataTests

  private static func url(_ light: UInt8) -> String {
    "data:image/png;base64," + Data(try! Pictures.picture(light).png()).base64EncodedString()
  }

  private static func said(_ role: String, _ content: Any) -> [String: Any] { ["role": role, "content": content] }

  private static func text(_ text: String) -> [String: Any] { ["type": "text", "text": text] }

  /// All documents in one batch.
  private func batch(_ data: PreparedData, documents: Int) throws -> Batch {
    var sequence = try BatchSequence(
      data.dataset.training, sequenceLength: 200, documentsPerSample: documents, shuffleSeed: nil)
    var batch = Batch()
    #expect(sequence.next(maximumTokens: 1000, into: &batch))
    return batch
  }

  @Test("the layouts of trl, of texts with <image> and of OpenAI's parts give the same pairs, both with the picture")
  func layouts() throws {
    let image: [String: Any] = ["type": "image"]
    let asked = Self.said("user", [image, Self.text(" the cat")])
    let shown = Self.said(
      "user", [["type": "image_url", "image_url": ["url": Self.url(10)]], Self.text(" the cat")])
    func answer(_ text: String) -> [[String: Any]] { [Self.said("assistant", [Self.text(text)])] }
    let file: [String: Any] = ["bytes": NSNull(), "path": "images/10.png"]
    let bytes: [String: Any] = ["bytes": Self.url(10), "path": "none.png"]
    let rows: [[String: Any]] = [
      ["images": [file], "prompt": [asked], "chosen": answer("the dog"), "rejected": answer("the mat")],
      ["image": bytes, "prompt": [asked], "chosen": answer("the dog"), "rejected": answer("the mat")],
      // The prompt in front of both answers.
      ["images": [bytes], "chosen": [asked] + answer("the dog"), "rejected": [asked] + answer("the mat")],
      ["image": "images/10.png", "prompt": "<image> the cat", "chosen": "the dog", "rejected": "the mat"],
      ["image": "images/10.png", "question": "<image> the cat", "chosen": "the dog", "rejected": "the mat"],
      ["prompt": [shown], "chosen": answer("the dog"), "rejected": answer("the mat")],
      ["chosen": [shown] + answer("the dog"), "rejected": [shown] + answer("the mat")],
      ["prompt": [shown], "chosen": [shown] + answer("the dog"), "rejected": [asked] + answer("the mat")],
    ]
    var batches: [Batch] = []
    for row in rows {
      try Pictures().prepare(jsonRow(row), task: dpo()) { data, _ in
        #expect(data.manifest.rowsKept == 1 && data.manifest.pictures?.count == 1, "\(data.manifest.brokenRows)")
        #expect(data.manifest.unusedFields?.isEmpty ?? true)
        batches.append(try batch(data, documents: 2))
      }
    }
    for other in batches { #expect(other == batches[0]) }
    let first = batches[0]
    #expect(first.documentCount == 2 && first.pictures.count == 2)
    for (document, picture) in first.pictures.enumerated() {
      #expect(first.rows(ofDocument: document).contains(picture.rows.lowerBound))
      #expect(Array(first.tokens[picture.rows]) == Pictures.placeholder)
      #expect(picture.values == .pixels(Pictures.values(10)))
    }
    func ids(_ text: String) -> [Int32] { try! smallTokenizer.encode(text, specialTokens: .asText) }
    let learned = first.targets.indices.filter { first.lossWeights[$0] > 0 }.map { first.targets[$0] }
    #expect(learned == ids("the dog") + [smallTokenizer.endToken] + ids("the mat") + [smallTokenizer.endToken])
  }

  @Test("pictures without a placeholder stand before the first question, as in trl")
  func unplaced() throws {
    var batches: [Batch] = []
    for prompt in ["the cat", "<image><image>\nthe cat"] {
      let row: [String: Any] = [
        "images": ["images/10.png", "images/20.png"], "prompt": prompt, "chosen": "the dog", "rejected": "the mat",
      ]
      try Pictures().prepare(jsonRow(row), task: dpo()) { data, _ in
        batches.append(try batch(data, documents: 2))
      }
    }
    #expect(batches[0] == batches[1] && batches[0].pictures.count == 4)
  }

  @Test("answers with labels have the pictures of their questions, also before another answer")
  func labelled() throws {
    let task = DataPreparation.Task.kto(maximumTokens: 512, .init())
    let rows = (1...3).map { number in
      jsonRow([
        "images": [["path": "images/\(number)0.png"]], "prompt": "<image> the cat \(number)", "completion": "the dog",
        "label": number > 1,
      ])
    }
    try Pictures().prepare(rows.joined(), task: task) { data, _ in
      let split = data.dataset.training
      let whole = try batch(data, documents: 1)
      #expect(whole.pictures.map(\.values) == [10, 20, 30].map { .pixels(Pictures.values($0)) })
      var mismatched = Batch()
      split.appendMismatched(1, maximumTokens: 100, to: &mismatched)
      #expect(mismatched.pictures.map(\.values) == [.pixels(Pictures.values(20))])
      let start = whole.rows(ofDocument: 1).lowerBound
      #expect(mismatched.pictures.map { $0.rows.lowerBound + start } == [whole.pictures[1].rows.lowerBound])
    }
  }

  @Test("pairs about other pictures, and pictures that do not fit, are left out by reason")
  func broken() throws {
    func whole(_ light: UInt8, _ answer: String) -> [[String: Any]] {
      [
        Self.said("user", [["type": "image_url", "image_url": ["url": Self.url(light)]], Self.text(" the cat")]),
        Self.said("assistant", answer),
      ]
    }
    let good = jsonRow([
      "image": "images/30.png", "prompt": "<image> the cat", "chosen": "the dog", "rejected": "the mat",
    ])
    let rows: [[String: Any]] = [
      ["chosen": whole(10, "the dog"), "rejected": whole(20, "the mat")],
      ["prompt": "<image> the cat", "chosen": "the dog", "rejected": "the mat"],
      ["image": "images/none.png", "prompt": "<image> the cat", "chosen": "the dog", "rejected": "the mat"],
      ["image": "images/10.png", "chosen": whole(10, "the dog"), "rejected": whole(10, "the mat")],
    ]
    try Pictures().prepare(String(repeating: good, count: 6) + rows.map(jsonRow).joined(), task: dpo()) { data, _ in
      #expect(data.manifest.rowsKept == 6 && data.manifest.rowsBroken == rows.count)
      let reasons = data.manifest.brokenRows.joined(separator: "\n")
      for part in [
        "answer questions about other pictures", "placeholder <image> without a picture", "cannot be opened",
        "which comes first is unknown",
      ] { #expect(reasons.contains(part), "\(part): \(reasons)") }
    }
  }
}
