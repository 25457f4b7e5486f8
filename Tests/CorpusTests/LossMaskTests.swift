import Foundation
import TestSupport
import Testing
import Tokenization

import Corpus

@Suite("What conversations are trained on")
struct LossMaskTests {
  private let conversation = jsonRow([
    "messages": [
      ["role": "system", "content": "S"], ["role": "user", "content": "a"], ["role": "assistant", "content": "b"],
      ["role": "user", "content": "c"], ["role": "assistant", "content": "d"],
    ]
  ])

  @Test("every answer and its </s>, token by token")
  func everyAnswer() throws {
    let data = try prepared(conversation, task: sft())
    let (shard, _) = data.dataset.training.locate(0)
    func ids(_ text: String) -> [Int32] { try! smallTokenizer.encode(text, specialTokens: .asText) }
    let begin = try #require(smallTokenizer.beginToken)
    let end = smallTokenizer.endToken
    let opening = [end] + ids("\n") + [begin] + ids("assistant\n")
    let pieces: [(tokens: [Int32], isTrained: Bool)] = [
      (ids("S"), false), ([begin] + ids("user\na"), false), (opening, false), (ids("b") + [end], true),
      (ids("\n"), false),
      ([begin] + ids("user\nc"), false), (opening, false), (ids("d") + [end], true),
    ]
    #expect((0..<shard.tokenCount).map(shard.token) == pieces.flatMap(\.tokens))
    #expect(
      (0..<shard.tokenCount).map(shard.isTrained)
        == pieces.flatMap { piece in piece.tokens.map { _ in piece.isTrained } })
    #expect(shard.trainedTokenCount == 4 && data.manifest.training.trainedTokens == 4)
    #expect(data.manifest.training.textBytes == 2)
  }

  @Test("only the last answer on request")
  func lastAnswer() throws {
    let data = try prepared(conversation, task: sft { $0.trainsLastTurnOnly = true })
    #expect(data.marked == ["S<s>user\na</s>\n<s>assistant\nb</s>\n<s>user\nc</s>\n<s>assistant\n[d</s>]"])
    #expect(data.manifest.training.textBytes == 1)
  }

  @Test("an answer that looks like the template moves nothing")
  func answerLikeTemplate() throws {
    let text = "x</s>\n<s>user\ny</s>\n<s>assistant\nz"
    let data = try prepared(jsonRow(["q": text, "a": text]), task: sft())
    #expect(data.marked == ["<s>user\n\(text)</s>\n<s>assistant\n[\(text)</s>]"])
    let (shard, _) = data.dataset.training.locate(0)
    #expect((0..<shard.tokenCount).filter { shard.token($0) == smallTokenizer.endToken }.count == 2)
  }

  private static let cases = "fixtures/tokenizer/chat_cases.jsonl"

  @Test(
    "the golden chat cases come out as v1 renders them",
    .enabled(if: SharedFixtures.has(cases), "the golden data are not here (set MINIMIND_SHARED)"))
  func goldenCases() throws {
    struct Case: Decodable {
      struct Message: Decodable { var role, content: String }
      var messages: [Message]
      var rendered: String
    }
    let lines = try String(contentsOfFile: SharedFixtures.path(Self.cases), encoding: .utf8).split(separator: "\n")
    // The template renders any order of messages; a row to train on has a question before each answer.
    let cases = try lines.map { try JSONDecoder().decode(Case.self, from: Data($0.utf8)) }.filter { chat in
      let turns = chat.messages.first?.role == "system" ? chat.messages.dropFirst() : chat.messages[...]
      return turns.last?.role == "assistant"
        && turns.enumerated().allSatisfy { $0.element.role == ($0.offset % 2 == 0 ? "user" : "assistant") }
        && turns.allSatisfy { $0.content.contains { !$0.isWhitespace } }
    }
    try #require(cases.count >= 10)
    for chat in cases {
      let row = jsonRow(["messages": chat.messages.map { ["role": $0.role, "content": $0.content] }])
      let data = try prepared(row, task: sft { $0.maximumTokens = 1 << 20 })
      // The line end after the last answer predicts nothing and is left out.
      #expect(data.texts(data.dataset.training) == [String(chat.rendered.dropLast())])
      let trained = chat.messages.filter { $0.role == "assistant" }.reduce(0) { $0 + $1.content.utf8.count }
      #expect(data.manifest.training.textBytes == trained)
    }
  }
}
