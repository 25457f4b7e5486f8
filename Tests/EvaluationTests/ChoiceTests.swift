import CPUEngine
import Compute
import Evaluation
import Foundation
import Model
import TestSupport
import Testing
import Tokenization

/// Writes files below a directory: their paths and contents.
private func write(_ files: [String: String], below directory: String) throws {
  for (path, text) in files {
    let file = directory + "/" + path
    try FileManager.default.createDirectory(
      atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try text.write(toFile: file, atomically: true, encoding: .utf8)
  }
}

private let plants = #"""
  id,question,A,B,C,D,answer
  0,What do leaves take in?,light,"stones, mostly",noise,sand,A
  1,"Which is a tree?
  (Only one is.)",moss,oak,fern,"a ""tree""",b

  """#

private let numbers = """
  ,Question,A,B,C,D,Answer,Explanation
  0,2 + 3 = ?,4,5,6,7,B,because
  1,3 × 3 = ?,6,12,9,33,C,
  2,10 - 9 = ?,1,2,3,4,A,
  3,7 + 7 = ?,77,0,1,14,D,
  """

@Suite struct QuestionSetTests {
  @Test("C-Eval's and C-MMLU's columns are read, with quotes, line breaks and a byte order mark")
  func reading() throws {
    try withTemporaryDirectory { directory in
      try write(
        [
          "val/plants_val.csv": "\u{FEFF}" + plants.replacing("\n", with: "\r\n"), "val/numbers.csv": numbers,
          "val/notes.txt": "not a subject", "dev/plants_dev.csv": plants, "dev/numbers.csv": numbers,
        ],
        below: directory)
      let set = try QuestionSet(directory: directory, split: "val", exampleSplit: "dev")
      #expect(set.subjects.map(\.name) == ["numbers", "plants"])
      #expect(set.questionCount == 6)
      #expect(set.subjects[0].questions.map(\.answer) == [1, 2, 0, 3])
      #expect(set.subjects[0].questions[1].choices == ["6", "12", "9", "33"])
      let tree = set.subjects[1].questions[1]
      #expect(tree.text == "Which is a tree?\r\n(Only one is.)" && tree.choices[3] == "a \"tree\"")
      #expect(set.subjects[1].questions.map(\.line) == [2, 3])
      #expect(set.subjects[1].examples.map(\.answer) == [0, 1])
      let one = try QuestionSet(directory: directory, split: "val", subjects: ["plants"])
      #expect(one.subjects.map(\.name) == ["plants"] && one.subjects[0].examples.isEmpty)
    }
  }

  @Test(
    "a broken row is told with its file and line",
    arguments: [
      ("question,A,B,C,D\nq,1,2,3,4\n", ":2: there is no column \"answer\" but \"question\", \"A\""),
      ("q,1,2,3,4,A\nq,1,2,3,4,A\n", ":2: there is no column \"question\" but \"q\", \"1\""),
      ("question,A,B,C,D,answer\nq,1,2,3,4,A\n\nq,1,2,3,A\n", ":4: the row has 5 fields, the header has 6"),
      ("question,A,B,C,D,answer\nq,1,2,3,4,E\n", ":2: the answer is \"E\", one of A, B, C and D is expected"),
      ("question,A,B,C,D,answer\nq,1,2,3,4,\n", ":2: the answer is \"\", one of A, B, C and D is expected"),
      ("question,A,B,C,D,answer\n \t,1,2,3,4,A\n", ":2: the question is empty"),
      ("question,A,B,C,D,answer\nq,\"1,2,3,4,A\n", ":2: a quoted field is not closed"),
      ("question,A,B,C,D,answer\n", ": there is no question in it"),
    ])
  func brokenRows(text: String, expected: String) throws {
    try withTemporaryDirectory { directory in
      try write(["val/x_val.csv": text], below: directory)
      let error = #expect(throws: EvaluationError.self) { try QuestionSet(directory: directory, split: "val") }
      let description = try #require(error?.description)
      #expect(description.hasPrefix(directory + "/val/x_val.csv" + expected), "\(description)")
    }
  }

  @Test("what is not UTF-8 is told with its line, and damaged files are read or refused")
  func damage() throws {
    try withTemporaryDirectory { directory in
      try write(["val/x.csv": plants], below: directory)
      let url = URL(fileURLWithPath: directory + "/val/x.csv")
      let good = Array(try Data(contentsOf: url))
      try Data(good.dropLast(20) + [0xFF] + good.suffix(20)).write(to: url)
      let error = #expect(throws: EvaluationError.self) { try QuestionSet(directory: directory, split: "val") }
      #expect(error?.description.contains("x.csv:3: the row is not valid UTF-8") == true)
      var generator = SeededGenerator(seed: 3)
      for _ in 0..<2000 {
        try Data(damaged(good, using: &generator)).write(to: url)
        _ = try? QuestionSet(directory: directory, split: "val")
      }
    }
  }

  @Test("what is missing is named, and what there is instead")
  func missing() throws {
    try withTemporaryDirectory { directory in
      try write(
        ["test/a.csv": numbers, "val/b.csv": numbers, "val/deep/b.csv": numbers, "dev/c.csv": numbers, "x/y.txt": "y"],
        below: directory)
      func message(_ split: String, _ examples: String? = nil, _ subjects: [String] = []) -> String {
        do {
          _ = try QuestionSet(directory: directory, split: split, exampleSplit: examples, subjects: subjects)
          return "nothing is wrong"
        } catch { return "\(error)" }
      }
      #expect(message("tset").contains("has no directory \"tset\" with CSV files, but dev, test, val, x"))
      #expect(message("test", "dev").contains("/dev has no examples for the subject \"a\""))
      #expect(message("test", nil, ["b"]).contains("/test has no subject \"b\"; it has a."))
      #expect(message("val").contains("/val holds two files for the subject \"b\""))
      #expect(message("x").contains("/x holds no CSV file"))
    }
  }

  @Test(
    "C-Eval: 52 subjects, 1346 questions, five examples each",
    .enabled(if: SharedFixtures.has("ceval"), "C-Eval's files are not here (set MINIMIND_SHARED)"))
  func ceval() throws {
    let set = try QuestionSet(directory: SharedFixtures.path("ceval"), split: "val", exampleSplit: "dev")
    #expect(set.subjects.count == 52 && set.questionCount == 1346)
    #expect(set.subjects.allSatisfy { $0.examples.count == 5 })
  }
}

@Suite struct ChoiceTests {
  static let question = ChoiceQuestion(text: "2 + 2 = ?", choices: ["3", "4", "5", "</s>"], answer: 1, line: 2)

  @Test("the prompt is MiniMind v1's, control tokens in a question stay text")
  func prompt() throws {
    let tokenizer = PerplexityTests.tokenizer
    let template = ChatTemplate()
    #expect(ChoicePrompt.text(Self.question) == "2 + 2 = ?。选择 A: 3, B: 4, C: 5, D: </s>")
    func conversation(_ shown: Int) throws -> [Int32] {
      var messages = [ChatMessage(role: .system, content: "开始回答问题")]
      for _ in 0..<shown {
        messages.append(ChatMessage(role: .user, content: ChoicePrompt.text(Self.question)))
        messages.append(ChatMessage(role: .assistant, content: "B"))
      }
      messages.append(ChatMessage(role: .user, content: ChoicePrompt.text(Self.question)))
      return try template.encode(messages, with: tokenizer, addGenerationPrompt: true).flatMap(\.ids)
    }
    let set = [Self.question, Self.question, Self.question]
    for (room, shown) in [
      (10_000, 3), (try conversation(3).count, 3), (try conversation(3).count - 1, 2), (try conversation(1).count, 1),
      (5, 0),
    ] {
      let test = try Self.test(set, exampleCount: 3, maximumTokens: room)
      #expect(try test.tokenCount == conversation(shown).count, "room for \(room)")
    }
  }

  static func test(_ examples: [ChoiceQuestion], exampleCount: Int, maximumTokens: Int) throws -> ChoiceTest {
    try ChoiceTest(
      QuestionSet(subjects: [ChoiceSubject(name: "sums", questions: [question], examples: examples)]),
      ChoicePrompt(PerplexityTests.tokenizer, ChatTemplate()), exampleCount: exampleCount, maximumTokens: maximumTokens)
  }

  @Test("every answer is that of the prompt by itself, through several batches", arguments: [0, 2])
  func answers(exampleCount: Int) throws {
    let tokenizer = PerplexityTests.tokenizer
    let parameters = try PerplexityTests.parameters()
    let subjects = (0..<3).map { subject in
      ChoiceSubject(
        name: "subject \(subject)",
        questions: (0..<40).map { index in
          ChoiceQuestion(
            text: String(repeating: "hello world ", count: 1 + (7 * index + subject) % 11),
            choices: ["a", "b", "\(index)", "d"],
            answer: index % 4, line: index + 2)
        }, examples: [Self.question, Self.question])
    }
    let set = QuestionSet(subjects: subjects)
    let test = try ChoiceTest(
      set, ChoicePrompt(tokenizer, ChatTemplate()), exampleCount: exampleCount, maximumTokens: 4000)
    #expect(test.tokenCount > 2 * 4096)
    let team = WorkerTeam(count: 2)
    var reported: [Int] = []
    let answers = try test.run(parameters, precision: .float32, engines: CPUEngineProvider(threads: 2)) {
      reported.append($0)
    }
    #expect(reported.last == 120 && reported.count > 2)

    let pass = try TrainingPass(parameters, precision: .float32, maximumTokens: 4096, team: team, trains: false)
    let vocabulary = parameters.configuration.vocabularySize
    let letters = try ChoiceQuestion.letters.map { Int(try tokenizer.encode($0)[0]) }
    for (index, answer) in answers.enumerated() {
      let subject = subjects[index / 40]
      var messages = [ChatMessage(role: .system, content: ChoicePrompt.system)]
      for example in subject.examples.prefix(exampleCount) {
        messages.append(ChatMessage(role: .user, content: ChoicePrompt.text(example)))
        messages.append(ChatMessage(role: .assistant, content: ChoiceQuestion.letters[example.answer]))
      }
      messages.append(ChatMessage(role: .user, content: ChoicePrompt.text(subject.questions[index % 40])))
      let tokens = try ChatTemplate().encode(messages, with: tokenizer, addGenerationPrompt: true).flatMap(\.ids)
      let logits = pass.logits(Batch(prompts: [tokens])).suffix(vocabulary)
      #expect(answer.promptTokens == tokens.count && answer.exampleCount == exampleCount)
      #expect((answer.subject, answer.question) == (index / 40, index % 40))
      for (letter, token) in letters.enumerated() {
        // Sums of some dozen products in another order.
        #expect(abs(answer.logits[letter] - logits[logits.startIndex + token]) < 1e-4)
      }
    }
    #expect(Set(answers.map(\.logits)).count > 60)
  }

  @Test("scores, standard errors and tables add up")
  func result() throws {
    let set = QuestionSet(subjects: [
      ChoiceSubject(
        name: "one, two", questions: (0..<4).map { ChoiceQuestion(text: "q", choices: [], answer: $0, line: $0 + 2) }),
      ChoiceSubject(name: "b", questions: [ChoiceQuestion(text: "q", choices: [], answer: 3, line: 2)]),
    ])
    let chosen: [[Float]] = [[2, 1, 0, 1], [0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 5], [0, 0, 0, 1]]
    let answers = chosen.enumerated().map { index, logits in
      ChoiceAnswer(subject: index / 4, question: index % 4, logits: logits, promptTokens: 9, exampleCount: 0)
    }
    // Of equal logits the first counts, as in numpy's argmax.
    #expect(answers.map(\.chosen) == [0, 2, 1, 3, 3])
    let result = ChoiceResult(set, answers)
    #expect(result.scores.map(\.correct) == [2, 1] && result.total.correct == 3 && result.total.total == 5)
    #expect(result.total.accuracy == 0.6 && result.scores[1].standardError == nil)
    #expect(try abs(#require(result.total.standardError) - (0.6 * 0.4 / 4).squareRoot()) < 1e-15)
    #expect(result.rightCounts == [1, 1, 1, 2] && result.chosenCounts == [1, 1, 1, 2])
    let lines = result.subjectsCSV().split(separator: "\n")
    #expect(lines.count == 4)
    #expect(lines[0] == "subject,correct,total,accuracy,standard_error,chance")
    #expect(lines[1].hasPrefix("\"one, two\",2,4,0.5,0.288"))
    #expect(lines[2] == "b,1,1,1.0,,0.25")
    #expect(result.answersCSV().split(separator: "\n")[1] == "\"one, two\",2,A,A,2.0,1.0,0.0,1.0,9,0")
  }
}
