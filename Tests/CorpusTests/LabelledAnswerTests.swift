import Foundation
import TestSupport
import Testing
import Tokenization

import Corpus

private let asked = "<s>user\nWho?</s>\n<s>assistant\n"

private func kto(maximumTokens: Int = 512) -> DataPreparation.Task {
  .kto(maximumTokens: maximumTokens, ChatTemplate())
}

@Suite("Reading answers with labels")
struct LabelledAnswerTests {
  private func labels(_ data: PreparedData) -> [Bool] {
    (0..<data.dataset.training.documentCount).map(data.dataset.training.isDesirable)
  }

  @Test(
    "an answer and its label in every shape",
    arguments: [
      (#"{"prompt": "Who?", "completion": "Me.", "label": true}"#, true),
      (#"{"prompt": "Who?", "completion": "Me.", "label": false}"#, false),
      (#"{"instruction": "Who?", "output": "Me.", "label": 1}"#, true),
      (#"{"q": "Who?", "a": "Me.", "label": "False"}"#, false),
      (
        #"""
        {"prompt": [{"role": "user", "content": "Who?"}], "completion": [{"role": "assistant", "content": "Me."}],
        "label": true}
        """#, true
      ),
      (
        #"{"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}], "label": 0}"#,
        false
      ),
    ])
  func shapes(_ row: String, isDesirable: Bool) throws {
    let data = try prepared(row, "a.json", task: kto())
    #expect(data.marked == [asked + "[Me.</s>]"] && labels(data) == [isDesirable])
    #expect(data.manifest.kind == .kto && data.manifest.unusedFields?.isEmpty == true)
  }

  @Test("a pair is a wanted answer and one that is not; CSV has labels in words; only the last answer is trained on")
  func otherShapes() throws {
    let pair = try prepared(
      jsonRow(["prompt": "Who?", "chosen": "Me.", "rejected": "You."]), task: kto())
    #expect(pair.marked == [asked + "[Me.</s>]", asked + "[You.</s>]"] && labels(pair) == [true, false])
    let csv = try prepared("prompt,completion,label\nWho?,Me.,true\nWho?,You.,0\n", "a.csv", task: kto())
    #expect(labels(csv) == [true, false])
    let turns = try prepared(
      #"{"history": [["Hi", "Ho"]], "prompt": "Who?", "completion": "Me.", "label": true}"#, "a.json", task: kto())
    #expect(turns.marked == ["<s>user\nHi</s>\n<s>assistant\nHo</s>\n" + asked + "[Me.</s>]"])
  }

  @Test("a row without a label, or with another one, is broken; long answers are dropped and counted")
  func broken() throws {
    func failure(_ row: String) -> String {
      do {
        _ = try prepared(row, "a.json", task: kto())
        return ""
      } catch { return "\(error)" }
    }
    #expect(failure(#"{"prompt": "Who?", "completion": "Me."}"#).contains(#"there is no "label" but "prompt""#))
    #expect(
      failure(#"{"prompt": "Who?", "completion": "Me.", "label": "good"}"#).contains(
        #""label" is "good", true or false is expected"#))
    #expect(
      failure(#"{"prompt": "Who?", "completion": "Me.", "label": 3}"#).contains(
        #""label" is a number, true or false is expected"#))
    let long = String(repeating: "the cat sat ", count: 40)
    let rows =
      jsonRow(["prompt": "Who?", "completion": long, "label": true])
      + jsonRow(["prompt": "Who?", "completion": "Me.", "label": true])
    let data = try prepared(rows, task: kto(maximumTokens: 40)) { $0.heldOutFraction = 0 }
    #expect(data.manifest.rowsKept == 1 && data.manifest.rowsDropped == ["pair-too-long": 1])
  }
}
