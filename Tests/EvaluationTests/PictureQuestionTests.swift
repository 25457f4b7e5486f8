import Foundation
import TestSupport
import Testing
import Tokenization

import Evaluation

@Suite struct PictureQuestionTests {
  private func read(_ content: String, _ name: String) throws -> [PictureQuestion] {
    try withTemporaryDirectory { directory in
      let path = directory + "/" + name
      try content.write(toFile: path, atomically: true, encoding: .utf8)
      return try PictureQuestions.read(path)
    }
  }

  @Test("tasks with pictures, as data scenes writes them")
  func tasks() throws {
    let row =
      #"{"task": "colour", "image": "a.png, b.png", "messages": [{"role": "user", "content": "<image>\nWhat <image> colour?"}], "#
      + #""check": {"kind": "text", "accepted": ["red"]}, "chance": 0.25}"#
    let question = try #require(try read(row + "\n\n", "a.jsonl").first)
    #expect(
      question.kind == "colour" && question.chance == 0.25 && question.pictures == [.file("a.png"), .file("b.png")])
    #expect(question.messages[0].content == PictureMark.text(0) + "\nWhat " + PictureMark.text(1) + " colour?")
    #expect(question.isMet(by: "Red.") && !question.isMet(by: "blue"))
    #expect(throws: EvaluationError.self) { try read(row.replacing("a.png, ", with: ""), "a.jsonl") }
    #expect(throws: EvaluationError.self) { try read(row.replacing("\"image\"", with: "\"other\""), "a.jsonl") }
  }

  @Test("POPE's rows, and how its evaluation reads an answer")
  func pope() throws {
    let rows =
      #"{"question_id": 1, "image": "x.jpg", "text": "Is there a dog in the image?", "label": "yes"}"# + "\n"
      + #"{"question_id": 2, "image": "x.jpg", "text": "Is there a cat in the image?", "label": "no"}"# + "\n"
    let questions = try read(rows, "pope.json")
    #expect(questions.count == 2 && questions.allSatisfy { $0.chance == 0.5 })
    #expect(questions[0].isMet(by: "Yes, there is. No doubt") && !questions[0].isMet(by: "No, there is none"))
    #expect(questions[1].isMet(by: "There is not one.") && !questions[1].isMet(by: "Nothing"))
    #expect(throws: EvaluationError.self) { try read(rows.replacing("\"yes\"", with: "\"maybe\""), "pope.json") }
  }

  @Test("MMBench's table, with pictures by the number of another row")
  func table() throws {
    let picture = String(repeating: "QUJD", count: 30)
    let text =
      "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\n"
      + "7\tWhich one?\tLook.\tcat\tdog\t\t\tB\tanimals\t\(picture)\n" + "8\tAnd\tnan\ta\tb\tc\td\tD\tletters\t7\n"
    let questions = try read(text, "dev.tsv")
    #expect(questions.map(\.chance) == [0.5, 0.25] && questions.map(\.kind) == ["animals", "letters"])
    #expect(questions.allSatisfy { $0.pictures == [.content(picture)] })
    #expect(questions[0].messages[0].content.hasPrefix(PictureMark.text(0) + "\nLook.\nWhich one?\nA. cat\nB. dog\n"))
    for right in ["B", "b.", "(B) dog", "Dog."] { #expect(questions[0].isMet(by: right), "\(right)") }
    for wrong in ["A", "Bear", "C", "", "cat"] { #expect(!questions[0].isMet(by: wrong), "\(wrong)") }
    #expect(throws: EvaluationError.self) { try read(text.replacing("\tB\tanimals", with: "\tC\tanimals"), "dev.tsv") }
  }

  @Test("accuracy by kind, with chance beside it")
  func scores() {
    func question(_ kind: String, _ chance: Double?) -> PictureQuestion {
      PictureQuestion(kind: kind, messages: [], pictures: [], check: .yes(true), chance: chance, place: "")
    }
    let scores = PictureScores([
      (question("b", 0.5), true), (question("a", 0.25), false), (question("b", 0.25), false),
      (question("a", nil), true),
    ])
    #expect(scores.lines.map(\.name) == ["a", "b"] && scores.lines.map(\.chance) == [nil, 0.375])
    #expect(scores.lines.map(\.score.accuracy) == [0.5, 0.5] && scores.total.score.total == 4)
  }
}
