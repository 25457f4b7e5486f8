import Foundation

/// Says how good answers are.
package protocol Reward: Sendable {
  /// In metrics: `rewards/NAME`.
  var name: String { get }

  /// [answers] a number each.
  ///
  /// - Throws: `RewardError` where there is none.
  func scores(_ answers: [AnswerToScore]) throws(RewardError) -> [Double]
}

/// An answer that a model has written to a task.
package struct AnswerToScore: Sendable {
  package var task: VerifiableTask
  /// The whole text, special tokens left out; `<think>` in front where the prompt has opened it.
  package var text: String
  /// The answer without its reasoning; empty where the reasoning has not ended.
  package var answer: String
  package var tokenCount: Int
  /// The most tokens that it could have had.
  package var tokenLimit: Int
  /// Whether it was cut there.
  package var isTruncated: Bool

  package init(
    _ task: VerifiableTask, text: String, opensReasoning: Bool = false, tokenCount: Int, tokenLimit: Int,
    isTruncated: Bool
  ) {
    self.task = task
    self.text = (opensReasoning ? "<think>" : "") + text
    self.tokenCount = tokenCount
    self.tokenLimit = tokenLimit
    self.isTruncated = isTruncated
    let begun = self.text.drop(while: \.isWhitespace)
    if begun.hasPrefix("<think>") {
      answer = begun.firstRange(of: "</think>").map { String(begun[$0.upperBound...]) } ?? ""
    } else {
      answer = self.text
    }
    answer = answer.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}

/// Why there is no reward: a sentence with what to do.
package struct RewardError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// Several rewards, added with weights.
package struct RewardSum: Sendable {
  package struct Part: Sendable {
    package var reward: any Reward
    package var weight: Double
  }

  package let parts: [Part]

  /// - Parameters:
  ///   - texts: "NAME" or "NAME=WEIGHT" of the rewards that are built in.
  ///   - command: a program of the user's, of weight 1.
  /// - Throws: `RewardError` for a name that is none, one that is there twice, or a weight that is no number.
  package init(_ texts: [String], command: RewardCommand? = nil) throws(RewardError) {
    var parts: [Part] = []
    for text in texts {
      let pieces = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard let reward = Self.named[pieces[0]] else {
        throw RewardError(
          "there is no reward \"\(pieces[0])\"; there are \(Self.names.joined(separator: ", ")), each perhaps with a "
            + "weight, as in think-format=0.2.")
      }
      guard !parts.contains(where: { $0.reward.name == reward.name }) else {
        throw RewardError("the reward \(reward.name) is named twice. Give it once, with its weight.")
      }
      guard let weight = pieces.count < 2 ? 1 : Double(pieces[1]), weight.isFinite else {
        throw RewardError("the weight of the reward \(reward.name) is \"\(pieces[1])\"; it must be a number.")
      }
      parts.append(Part(reward: reward, weight: weight))
    }
    if let command { parts.append(Part(reward: command, weight: 1)) }
    guard !parts.isEmpty else { throw RewardError("there is no reward. Name one, or give a program.") }
    self.parts = parts
  }

  private static let named: [String: any Reward] = Dictionary(
    uniqueKeysWithValues: ([
      CheckReward(), ThinkFormatReward(), LengthReward(), RepetitionReward(), LanguageReward(),
    ] as [any Reward]).map { ($0.name, $0) })
  package static let names = ["check", "think-format", "length", "repetition", "language"]

  /// [answers] the weighted sum, and [parts][answers] what each reward says, without its weight.
  ///
  /// - Throws: `RewardError`, also for a reward that is not a finite number.
  package func scores(_ answers: [AnswerToScore]) throws(RewardError) -> (total: [Double], parts: [[Double]]) {
    var total = [Double](repeating: 0, count: answers.count)
    var all: [[Double]] = []
    for part in parts {
      let scores = try part.reward.scores(answers)
      for (index, score) in scores.enumerated() {
        guard score.isFinite else {
          throw RewardError(
            "the reward \(part.reward.name) of an answer is \(score), not a finite number. The answer was: "
              + "\"\(answers[index].text.prefix(80))\".")
        }
        total[index] += part.weight * score
      }
      all.append(scores)
    }
    return (total, all)
  }
}
