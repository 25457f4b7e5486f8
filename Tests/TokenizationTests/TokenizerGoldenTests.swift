import Foundation
import TestSupport
import Testing

import Tokenization

/// v1's own tokenizer, and what Hugging Face's `tokenizers` made of hundreds of texts with it.
@Suite(.enabled(if: SharedFixtures.has("fixtures/tokenizer"), "needs fixtures/tokenizer in ../shared"))
struct TokenizerGoldenTests {
  /// The fixture's files under the names that a tokenizer directory has.
  static func tokenizer() throws -> Tokenizer {
    try withTemporaryDirectory { directory in
      for name in ["tokenizer.json", "tokenizer_config.json"] {
        try FileManager.default.copyItem(
          atPath: SharedFixtures.path("fixtures/tokenizer/minimind_v1_" + name), toPath: directory + "/" + name)
      }
      return try Tokenizer(directory: directory)
    }
  }

  static func lines(_ name: String) throws -> [[String: Any]] {
    let text = try String(contentsOfFile: SharedFixtures.path("fixtures/tokenizer/" + name), encoding: .utf8)
    return try text.utf8.split(separator: 0x0A).map {
      try #require(try JSONSerialization.jsonObject(with: Data($0)) as? [String: Any])
    }
  }

  static func ids(_ value: Any?) throws -> [Int32] { try #require(value as? [NSNumber]).map(\.int32Value) }

  @Test("every text is encoded and decoded as by tokenizers")
  func encodeCases() throws {
    let tokenizer = try Self.tokenizer()
    let cases = try Self.lines("encode_cases.jsonl")
    #expect(cases.count == 652)
    for (index, line) in cases.enumerated() {
      let text = try #require(line["text"] as? String)
      let ids = try Self.ids(line["ids"])
      #expect(try tokenizer.encode(text) == ids, "line \(index + 1)")
      let decoded = try #require(line["decoded"] as? String)
      #expect(Array(tokenizer.decode(ids).utf8) == Array(decoded.utf8), "line \(index + 1)")
    }
  }

  @Test("every conversation is rendered and encoded as by v1's template")
  func chatCases() throws {
    let tokenizer = try Self.tokenizer()
    for (index, line) in try Self.lines("chat_cases.jsonl").enumerated() {
      let messages = try #require(line["messages"] as? [[String: String]]).map {
        ChatMessage(
          role: try #require(ChatMessage.Role(rawValue: $0["role"] ?? "")), content: try #require($0["content"]))
      }
      let template = ChatTemplate()
      let rendered = try #require(line["rendered"] as? String)
      #expect(template.render(messages, addGenerationPrompt: false) == rendered, "line \(index + 1)")
      let parts = try template.encode(messages, with: tokenizer, addGenerationPrompt: false)
      #expect(try parts.flatMap(\.ids) == Self.ids(line["ids"]), "line \(index + 1)")
      for part in parts where part.isAnswer {
        #expect(messages[part.messageIndex].role == .assistant)
        #expect(tokenizer.decode(part.ids) == messages[part.messageIndex].content + "</s>")
      }
      #expect(parts.count(where: \.isAnswer) == messages.count { $0.role == .assistant })
    }
  }

  @Test("training on the corpus gives tokenizers' vocabulary and merges, and its file to the byte", arguments: [1, 3])
  func trainedVocabulary(threads: Int) throws {
    var trainer = try TokenizerTrainer(vocabularySize: 1200, threads: threads)
    for line in try Self.lines("train_corpus.jsonl") {
      try trainer.add(document: try #require(line["text"] as? String))
    }
    let tokenizer = try trainer.train()
    let expected = try Data(contentsOf: URL(filePath: SharedFixtures.path("fixtures/tokenizer/trained_vocab1200.json")))
    try withTemporaryDirectory { directory in
      try tokenizer.save(to: directory)
      #expect(try Data(contentsOf: URL(filePath: directory + "/tokenizer.json")) == expected)
    }
  }

  @Test("v1's files are read, and written back as they were")
  func savesWhatItRead() throws {
    let tokenizer = try Self.tokenizer()
    #expect(tokenizer.vocabularySize == 6400)
    #expect([tokenizer.unknownToken, tokenizer.beginToken, tokenizer.endToken] == [0, 1, 2])
    try withTemporaryDirectory { directory in
      try tokenizer.save(to: directory + "/new")
      let copy = try Tokenizer(directory: directory + "/new")
      #expect(copy.contentHash == tokenizer.contentHash)
      for name in ["tokenizer.json", "tokenizer_config.json"] {
        #expect(
          try Data(contentsOf: URL(filePath: directory + "/new/" + name))
            == Data(contentsOf: URL(filePath: SharedFixtures.path("fixtures/tokenizer/minimind_v1_" + name))))
      }
      _ = try ChatTemplate(tokenizerDirectory: directory + "/new")
    }
  }
}
