import Rewards

/// How many tasks of each kind were answered right.
package struct TaskScores: Sendable {
  package struct Line: Sendable {
    package var name: String
    package var score = ChoiceScore()
    /// The share that one answer, always the same, would get right at most: what knowing nothing is worth.
    package var commonest = 0.0
    /// Answers that were cut at the most tokens.
    package var truncated = 0
  }

  /// In the order of their names.
  package let lines: [Line]
  package let total: Line

  /// - Parameter answers: at least one; each with whether it is right.
  package init(_ answers: [AnswerToScore], isRight: [Bool]) {
    var byName: [String: [Int]] = [:]
    for (index, answer) in answers.enumerated() { byName[answer.task.name, default: []].append(index) }
    func line(_ name: String, _ indices: some Collection<Int>) -> Line {
      var line = Line(name: name)
      var expected: [String: Int] = [:]
      for index in indices {
        line.score.add(isCorrect: isRight[index])
        expected[answers[index].task.check.expected, default: 0] += 1
        if answers[index].isTruncated { line.truncated += 1 }
      }
      line.commonest = Double(expected.values.max() ?? 0) / Double(indices.count)
      return line
    }
    lines = byName.sorted { $0.key < $1.key }.map { line($0.key, $0.value) }
    total = line("total", answers.indices)
  }
}
