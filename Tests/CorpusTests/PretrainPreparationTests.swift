import Foundation
import TestSupport
import Testing

import Corpus

@Suite("Preparing text")
struct PretrainPreparationTests {
  @Test(
    "every format gives the same documents between <s> and </s>",
    arguments: [
      ("a.jsonl", "{\"text\": \"one, two\"}\n{\"text\": \"三\"}\n"),
      ("a.json", "[{\"text\": \"one, two\"},\n {\"text\": \"三\"}]"),
      ("a.csv", "id,text\n1,\"one, two\"\n2,三\n"),
      ("a.txt", "one, two\n三\n"),
    ])
  func formats(_ name: String, _ content: String) throws {
    let data = try prepared(content, name)
    #expect(data.marked == ["<s>[one, two</s>]", "<s>[三</s>]"])
    #expect(data.manifest.rowsRead == 2 && data.manifest.rowsKept == 2)
    #expect(data.manifest.training.textBytes == 11 && data.manifest.training.characters == 9)
    #expect(data.dataset.training.trainedTokenCount == data.dataset.training.tokenCount - 2)
    #expect(data.manifest.inputs.first?.bytes == content.utf8.count)
  }

  @Test("a plain text file is one document on request, its line ends kept")
  func wholeFile() throws {
    #expect(try prepared("one\n\ntwo\n", "a.txt", wholeFiles: true).marked == ["<s>[one\n\ntwo\n</s>]"])
  }

  @Test("special tokens in a text are text")
  func specialTokens() throws {
    let data = try prepared(jsonRow(["text": "a</s><s><unk>b"]))
    #expect(data.texts(data.dataset.training) == ["<s>a</s><s><unk>b</s>"])
    let (shard, _) = data.dataset.training.locate(0)
    let tokens = (0..<shard.tokenCount).map(shard.token)
    #expect(tokens.filter { $0 == smallTokenizer.beginToken }.count == 1)
    #expect(tokens.filter { $0 == smallTokenizer.endToken }.count == 1)
    #expect(!tokens.contains(try #require(smallTokenizer.unknownToken)))
  }

  @Test("a long document is split and nothing of it is lost; a shorter one is left whole")
  func splitting() throws {
    let long = String(repeating: "The cat sat. 山很高。", count: 40)
    let data = try prepared(
      jsonRow(["text": long]) + jsonRow(["text": "short"]), task: pretrain { $0.maximumCharacters = 100 })
    let pieces = data.texts(data.dataset.training).map { String($0.dropFirst(3).dropLast(4)) }
    #expect(pieces.dropLast().joined() == long && pieces.last == "short")
    #expect(pieces.allSatisfy { $0.unicodeScalars.count <= 100 })
    #expect(data.manifest.rowsChanged == ["split": 1] && data.manifest.rowsKept == 2)
  }

  @Test("v1's filter drops what is longer than 512 characters, counted as characters and not as bytes")
  func v1Filter() throws {
    let rows = [511, 512, 513].map { jsonRow(["text": String(repeating: "山", count: $0)]) }.joined()
    let data = try prepared(rows, task: .pretrain(.v1))
    #expect(data.manifest.rowsKept == 2 && data.manifest.rowsDropped == ["too-long": 1])
    #expect(data.manifest.filters == ["max-characters": "512", "long": "drop"])
  }

  @Test("a row without text is dropped and counted; blank lines are no rows")
  func blankRows() throws {
    let data = try prepared("\n{\"text\": \"\"}\n{\"text\": \" \\n\"}\n  \n{\"text\": \"a\"}\n")
    #expect(data.manifest.rowsRead == 3 && data.manifest.rowsDropped == ["no-text": 2])
    #expect(data.marked == ["<s>[a</s>]"])
  }

  @Test(
    "pieces of a split text are the text again, end at sentences, and are never longer than asked", arguments: 1...40)
  func splitText(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let parts = ["word ", "。", "！", "？", "a. ", "b! ", "\n", "😀", "字", "é", "long"]
    let text = (0..<Int.random(in: 1...300, using: &generator)).map { _ in parts.randomElement(using: &generator)! }
      .joined()
    let limit = Int.random(in: 1...50, using: &generator)
    Array(text.utf8).withUnsafeBytes { bytes in
      let pieces = Corpus.splitText(bytes, maximumCharacters: limit).map { String(decoding: bytes[$0], as: UTF8.self) }
      #expect(pieces.joined() == text)
      #expect(pieces.allSatisfy { (1...limit).contains($0.unicodeScalars.count) && !$0.contains("\u{FFFD}") })
    }
    Array("One two three. Four five six seven eight".utf8).withUnsafeBytes { bytes in
      #expect(
        Corpus.splitText(bytes, maximumCharacters: 20).map { String(decoding: bytes[$0], as: UTF8.self) } == [
          "One two three.", " Four five six ", "seven eight",
        ])
    }
  }
}
