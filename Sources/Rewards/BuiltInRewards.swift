import Foundation

/// 1 where the task's own check is met, else 0.
package struct CheckReward: Reward {
  package let name = "check"
  package init() {}
  package func scores(_ answers: [AnswerToScore]) -> [Double] {
    answers.map { $0.task.check.isMet(by: $0.answer) ? 1 : 0 }
  }
}

/// 1 where the answer is one `<think>…</think>` and something after it, else 0; trl's `think_format_reward` asks for the
/// same, but also takes an empty answer.
package struct ThinkFormatReward: Reward {
  package let name = "think-format"
  package init() {}
  package func scores(_ answers: [AnswerToScore]) -> [Double] {
    answers.map { answer in
      let isRight =
        answer.text.drop(while: \.isWhitespace).hasPrefix("<think>") && answer.text.ranges(of: "<think>").count == 1
        && answer.text.ranges(of: "</think>").count == 1 && !answer.answer.isEmpty
      return isRight ? 1 : 0
    }
  }
}

/// 0 up to four fifths of the tokens that an answer may have, from there down to -1 at the limit: the soft punishment of
/// DAPO (Yu et al. 2025, arXiv 2503.14476, equation 13).
package struct LengthReward: Reward {
  package let name = "length"
  package init() {}
  package func scores(_ answers: [AnswerToScore]) -> [Double] {
    answers.map { answer in
      let limit = Double(answer.tokenLimit)
      let begin = 0.8 * limit
      return -min(1, max(0, (Double(answer.tokenCount) - begin) / max(1, limit - begin)))
    }
  }
}

/// Minus the share of runs of three words that were there before; a Chinese character, kana or digit is a word.
package struct RepetitionReward: Reward {
  package let name = "repetition"
  package init() {}
  package func scores(_ answers: [AnswerToScore]) -> [Double] {
    answers.map { answer in
      let words = Self.words(answer.answer)
      guard words.count >= 3 else { return 0 }
      let runs = (0...words.count - 3).map { words[$0..<$0 + 3].joined(separator: " ") }
      return -(1 - Double(Set(runs).count) / Double(runs.count))
    }
  }

  private static func words(_ text: String) -> [String] {
    var words: [String] = []
    var word = ""
    func end() {
      if !word.isEmpty { words.append(word) }
      word = ""
    }
    for scalar in text.lowercased().unicodeScalars {
      if scalar.isCJK || ("0"..."9").contains(scalar) {
        end()
        words.append(String(scalar))
      } else if scalar.properties.isAlphabetic {
        word.unicodeScalars.append(scalar)
      } else {
        end()
      }
    }
    end()
    return words
  }
}

/// The share of the answer's letters that are of the question's script: Chinese and kana where most of the question's are,
/// else the others. 1 for an answer without letters.
package struct LanguageReward: Reward {
  package let name = "language"
  package init() {}
  package func scores(_ answers: [AnswerToScore]) -> [Double] {
    answers.map { answer in
      let question = answer.task.messages.last { $0.role == .user }?.content ?? ""
      guard let share = Self.cjkShare(answer.answer) else { return 1 }
      return (Self.cjkShare(question) ?? 0) > 0.5 ? share : 1 - share
    }
  }

  private static func cjkShare(_ text: String) -> Double? {
    var (letters, cjk) = (0, 0)
    for scalar in text.unicodeScalars where scalar.isCJK || scalar.properties.isAlphabetic {
      letters += 1
      if scalar.isCJK { cjk += 1 }
    }
    return letters > 0 ? Double(cjk) / Double(letters) : nil
  }
}

extension Unicode.Scalar {
  /// A Chinese character or kana.
  fileprivate var isCJK: Bool { properties.isIdeographic || (0x3040...0x30FF).contains(value) }
}
