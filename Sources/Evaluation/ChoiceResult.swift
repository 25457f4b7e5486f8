/// What a test found.
package struct ChoiceResult: Sendable {
  /// The accuracy of who knows nothing.
  package static let chance = 1 / Double(ChoiceQuestion.letters.count)

  package let set: QuestionSet
  package let answers: [ChoiceAnswer]
  /// [subjects] in the order of the test.
  package let scores: [ChoiceScore]
  package let total: ChoiceScore
  /// [letters] how often each was the right answer, and the chosen one. Who always gives the commonest right answer has
  /// an accuracy above chance without knowing anything.
  package let rightCounts: [Int]
  package let chosenCounts: [Int]

  /// - Parameter answers: to the questions of `set`, at least one.
  package init(_ set: QuestionSet, _ answers: [ChoiceAnswer]) {
    self.set = set
    self.answers = answers
    var scores = set.subjects.map { _ in ChoiceScore() }
    var total = ChoiceScore()
    var rightCounts = ChoiceQuestion.letters.map { _ in 0 }
    var chosenCounts = rightCounts
    for answer in answers {
      let right = set.subjects[answer.subject].questions[answer.question].answer
      scores[answer.subject].add(isCorrect: answer.chosen == right)
      total.add(isCorrect: answer.chosen == right)
      rightCounts[right] += 1
      chosenCounts[answer.chosen] += 1
    }
    self.scores = scores
    self.total = total
    self.rightCounts = rightCounts
    self.chosenCounts = chosenCounts
  }

  /// A row for each subject, and the total.
  package func subjectsCSV() -> String {
    let names = set.subjects.map(\.name) + ["total"]
    return Self.csv(
      [["subject", "correct", "total", "accuracy", "standard_error", "chance"]]
        + zip(names, scores + [total]).map { name, score in
          [
            name, "\(score.correct)", "\(score.total)", "\(score.accuracy)",
            score.standardError.map { "\($0)" } ?? "", "\(Self.chance)",
          ]
        })
  }

  /// A row for each question: where it stands, what was right, what was chosen, and the logit of each letter.
  package func answersCSV() -> String {
    let letters = ChoiceQuestion.letters
    return Self.csv(
      [["subject", "line", "answer", "chosen"] + letters + ["prompt_tokens", "examples"]]
        + answers.map { answer in
          let subject = set.subjects[answer.subject]
          let question = subject.questions[answer.question]
          return [subject.name, "\(question.line)", letters[question.answer], letters[answer.chosen]]
            + answer.logits.map { "\($0)" } + ["\(answer.promptTokens)", "\(answer.exampleCount)"]
        })
  }

  /// RFC 4180, but with line feeds alone.
  private static func csv(_ rows: [[String]]) -> String {
    rows.map { row in
      row.map { field in
        field.contains { ",\"\r\n".contains($0) }
          ? "\"" + field.replacing("\"", with: "\"\"") + "\"" : field
      }.joined(separator: ",") + "\n"
    }.joined()
  }
}
