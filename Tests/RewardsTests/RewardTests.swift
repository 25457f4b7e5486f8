import Foundation
import Rewards
import Storage
import Testing

@Suite struct RewardTests {
  private func answer(
    _ text: String, question: String = "What is 1 + 1?", opens: Bool = false, tokens: Int = 5, limit: Int = 10
  ) throws -> AnswerToScore {
    let row = """
      {"messages": [{"role": "user", "content": \(JSON.quoted(question))}], "check": {"kind": "number", "value": 2}}
      """
    return AnswerToScore(
      try VerifiableTask(try JSON(parsing: row)), text: text, opensReasoning: opens, tokenCount: tokens,
      tokenLimit: limit,
      isTruncated: tokens >= limit)
  }

  @Test("the check looks at the answer, not at the reasoning") func check() throws {
    let texts = ["2", "<think>2</think>3", "<think>3</think> 2", "<think>2"]
    #expect(CheckReward().scores(try texts.map { try answer($0) }) == [1, 0, 1, 0])
    #expect(CheckReward().scores([try answer("3</think>2", opens: true)]) == [1])
  }

  @Test("the format is one thought and an answer") func format() throws {
    let texts = ["<think>a</think>2", "2", "<think>a</think>", "<think>a</think>2</think>", "x<think>a</think>2"]
    #expect(ThinkFormatReward().scores(try texts.map { try answer($0) }) == [1, 0, 0, 0, 0])
  }

  @Test("length costs from four fifths of the limit on") func length() throws {
    let scores = LengthReward().scores(try [5, 80, 90, 100].map { try answer("a", tokens: $0, limit: 100) })
    #expect(scores == [0, 0, -0.5, -1])
  }

  @Test("repetition is the share of runs of three words that repeat") func repetition() throws {
    let scores = RepetitionReward().scores(
      try ["a b c d", "a b c a b c", "二二二二", "a b"].map { try answer($0) })
    #expect(scores == [0, -0.25, -0.5, 0])
  }

  @Test("the language is that of the question") func language() throws {
    #expect(LanguageReward().scores([try answer("two", question: "一加一？")]) == [0])
    #expect(LanguageReward().scores([try answer("二", question: "一加一？")]) == [1])
    #expect(LanguageReward().scores([try answer("2", question: "一加一？")]) == [1])
    #expect(LanguageReward().scores([try answer("two", question: "one and one?")]) == [1])
  }

  @Test("rewards add up with their weights; names and weights are checked") func sum() throws {
    let sum = try RewardSum(["check", "think-format=0.5", "length=-2"])
    let (total, parts) = try sum.scores([try answer("<think>a</think>2", tokens: 9), try answer("3", tokens: 10)])
    #expect(parts == [[1, 0], [1, 0], [-0.5, -1]])
    #expect(total == [2.5, 2])
    for (texts, part) in [
      (["sum"], "no reward \"sum\""), (["check", "check=2"], "named twice"), (["check=x"], "must be a number"),
      ([], "no reward"),
    ] {
      let error = try #require(throws: RewardError.self) { try RewardSum(texts) }
      #expect(error.description.contains(part))
    }
  }

  @Test("a program gets a line for each answer and gives one back") func command() throws {
    let answers = try ["two", "2", String(repeating: "long ", count: 30_000)].map { try answer($0) }
    let program = RewardCommand(
      "while read -r line; do echo ${#line}; done | awk '{ print \"{\\\"reward\\\": \" ($1 > 1000) \"}\" }'")
    #expect(try program.scores(answers) == [0, 0, 1])
    // It need not read what it is given.
    #expect(try RewardCommand("printf '1\\n2\\n0.5\\n'").scores(answers) == [1, 2, 0.5])
  }

  @Test(
    "a program that fails is named, with what it did, and does not stay",
    arguments: [
      ("sleep 600 & sleep 600", "has not ended after 0.5 seconds"),
      ("exec 1>&-; sleep 600", "has not ended after 0.5 seconds"),
      ("cat", "no finite number"), ("echo 1", "wrote 1 lines for 2 answers"), ("exit 3", "ended with exit code 3"),
      ("kill -9 $$", "ended by signal 9"), ("yes 1", "wrote more than"), ("printf 'NaN\\nNaN\\n'", "no finite number"),
      ("/no/such/program", "ended with exit code 127"),
    ])
  func failures(_ command: String, _ part: String) throws {
    let answers = try ["1", "2"].map { try answer($0) }
    let start = ContinuousClock.now
    let error = try #require(throws: RewardError.self) { try RewardCommand(command, seconds: 0.5).scores(answers) }
    #expect(error.description.contains(part), "\(error.description)")
    #expect(ContinuousClock.now - start < .seconds(10))
  }

  @Test("a program has no more memory than it may have") func memory() throws {
    let command = "python3 -c 'x = bytearray(1 << 30); print(1)'"
    let error = try #require(throws: RewardError.self) {
      try RewardCommand(command, seconds: 30, memoryBytes: 256 << 20).scores([try answer("1")])
    }
    #expect(error.description.contains("ended"), "\(error.description)")
  }
}
