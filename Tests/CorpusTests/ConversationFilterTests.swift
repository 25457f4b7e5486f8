import TestSupport
import Testing
import Tokenization

import Corpus

private func row(_ question: String, _ answer: String, history: [[String]] = []) -> String {
  jsonRow(["q": question, "a": answer, "history": history])
}

@Suite("Filtering conversations")
struct ConversationFilterTests {
  @Test("by default short and English rows are kept and only empty turns are dropped")
  func defaults() throws {
    let rows =
      row("Hi", "Hello!") + row("你好", "嗨") + row("", "x") + row("x", " \n") + row("x", "y", history: [["", "a"]])
    let manifest = try prepared(rows, task: sft()).manifest
    #expect(manifest.rowsKept == 2 && manifest.rowsDropped == ["empty-turn": 3])
  }

  @Test("v1's filters keep questions of 10 to 256 and answers of 5 to 256 characters that are more than 0.9 CJK")
  func v1() throws {
    func characters(_ count: Int) -> String { String(repeating: "山", count: count) }
    let ten = characters(10)
    let rows =
      row(ten, characters(5)) + row(characters(256), characters(256)) + row(characters(9), ten)
      + row(characters(257), ten) + row(ten, characters(4)) + row(ten, characters(257))
      + row(characters(9) + ".", ten) + row(ten, characters(9) + ".") + row(characters(10) + ".", characters(10) + "a")
      // Only the last turn counts.
      + row(ten, ten, history: [["Hi", "Hello"]])
    let manifest = try prepared(rows, task: .sft(.v1, ChatTemplate())).manifest
    #expect(manifest.rowsKept == 4)
    #expect(
      manifest.rowsDropped == [
        "question-too-short": 1, "question-too-long": 1, "answer-too-short": 1, "answer-too-long": 1,
        "too-little-cjk": 2,
      ])
    #expect(
      manifest.filters == [
        "min-question": "10", "max-question": "256", "min-answer": "5", "max-answer": "256", "min-cjk-share": "0.9",
        "max-tokens": "512",
      ])
  }

  @Test("single turns are dropped where only several are wanted")
  func multiTurnOnly() throws {
    let data = try prepared(
      row("a", "b") + row("c", "d", history: [["e", "f"]]), task: sft { $0.isMultiTurnOnly = true })
    #expect(data.manifest.rowsKept == 1 && data.manifest.rowsDropped == ["single-turn": 1])
  }

  @Test("a conversation that is too long loses whole turns from the front and keeps its system message")
  func oldestTurnsGo() throws {
    func count(_ text: String) -> Int { try! smallTokenizer.encode(text).count }
    let turn = "<s>user\nthe cat</s>\n<s>assistant\nsat</s>\n"
    let kept = "Be kind." + turn + "<s>user\nthe dog</s>\n<s>assistant\nsat on the log</s>"
    let conversation = jsonRow([
      "system": "Be kind.", "q": "the dog", "a": "sat on the log",
      "history": [["the cat", "sat"], ["the cat", "sat"], ["the cat", "sat"]],
    ])
    for (limit, turns) in [(count(kept), 1), (count(kept) - 1, 0), (count(kept) + count(turn), 2)] {
      let data = try prepared(conversation, task: sft { $0.maximumTokens = limit })
      let expected =
        "Be kind." + String(repeating: turn, count: turns) + "<s>user\nthe dog</s>\n<s>assistant\nsat on the log</s>"
      #expect(data.texts(data.dataset.training) == [expected])
      #expect(data.manifest.rowsChanged == ["old-turns-removed": 1])
    }
  }

  @Test("a single turn that is too long loses the end of its answer, and its bytes are those that are left")
  func answerCut() throws {
    let answer = String(repeating: "the cat sat on the mat ", count: 20)
    let data = try prepared(row("Who?", answer), task: sft { $0.maximumTokens = 30 })
    let (shard, document) = data.dataset.training.locate(0)
    #expect(shard.tokenRange(ofDocument: document).count == 30)
    #expect(shard.token(29) != smallTokenizer.endToken && shard.isTrained(29))
    let text = data.marked[0]
    #expect(text.hasPrefix("<s>user\nWho?</s>\n<s>assistant\n[the cat sat") && text.hasSuffix("]"))
    let kept = text.dropFirst("<s>user\nWho?</s>\n<s>assistant\n[".count).dropLast()
    #expect(answer.hasPrefix(kept) && data.manifest.training.textBytes == kept.utf8.count)
    #expect(data.manifest.training.characters == kept.count && data.manifest.rowsChanged == ["answer-cut": 1])
  }

  @Test("a question that leaves no room for an answer drops the row")
  func promptTooLong() throws {
    let rows = row(String(repeating: "xyz ", count: 100), "Me.") + row("Who?", "Me.")
    let manifest = try prepared(rows, task: sft { $0.maximumTokens = 30 }).manifest
    #expect(manifest.rowsKept == 1 && manifest.rowsDropped == ["prompt-too-long": 1] && manifest.rowsChanged.isEmpty)
  }
}
