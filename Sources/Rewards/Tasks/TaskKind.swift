import Storage
import Tokenization

/// A kind of question that the program can make by itself, as many as are wanted.
package enum TaskKind: String, CaseIterable, Sendable {
  case addition, subtraction, multiplication
  /// How often a letter is in a word.
  case letters
  case sorting
  /// The day some days before or after another.
  case dates
  case units
  /// What a sentence says, as JSON.
  case extraction
  /// The call of the right tool.
  case calls
  /// Several calls, whose results lead to the answer.
  case errands

  /// Those that every chat template has a place for.
  package static let usual = allCases.filter { $0 != .errands }

  /// A question of this kind.
  ///
  /// - Parameter digits: the most of a number.
  func instance(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    switch self {
    case .addition, .subtraction, .multiplication: arithmetic(language, digits: digits, &random)
    case .letters: Self.letterCount(language, &random)
    case .sorting: Self.sorting(language, digits: digits, &random)
    case .dates: Self.date(language, digits: digits, &random)
    case .units: Self.conversion(language, digits: digits, &random)
    case .extraction: Self.extraction(language, &random)
    case .calls: Self.call(language, digits: digits, &random)
    case .errands: Self.errand(language, digits: digits, &random)
    }
  }
}

package enum TaskLanguage: String, CaseIterable, Sendable {
  case english = "en"
  case chinese = "zh"
}

/// A question and its answer.
struct TaskInstance {
  /// What is asked, whatever the words: no two tasks of a set have the same.
  var key: String
  var system: String?
  var question: String
  var answer: String
  var check: AnswerCheck
  var errand: Errand?
}

/// Tasks of several kinds, half of each kind's in either language, or all in one: for training, and others held out from it.
package struct TaskSet: Sendable {
  package private(set) var training: [VerifiableTask] = []
  package private(set) var heldOut: [VerifiableTask] = []

  /// The same for the same arguments. No question of one side is on the other, in either language.
  ///
  /// - Parameters:
  ///   - count: tasks of each kind.
  ///   - heldOutCount: of each kind, in addition.
  ///   - digits: the most of a number in a question.
  /// - Throws: `TaskProblem` for a kind that has not as many different questions.
  package init(
    _ kinds: [TaskKind], _ languages: [TaskLanguage], count: Int, heldOutCount: Int, digits: Int, seed: Int
  ) throws(TaskProblem) {
    for (number, kind) in kinds.enumerated() {
      var random = SplitMix64(seed: UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(number + 1))
      var keys: Set<String> = []
      var repeats = 0
      while keys.count < count + heldOutCount {
        let instance = kind.instance(languages[keys.count % languages.count], digits: digits, &random)
        guard keys.insert(instance.key).inserted else {
          repeats += 1
          // With all drawn but one in ten thousand.
          guard repeats <= 20 * (count + heldOutCount) + 1000 else {
            throw TaskProblem(
              "there are hardly more than \(keys.count) different questions of \(kind.rawValue) with \(digits) "
                + "digit\(digits == 1 ? "" : "s"). Ask for fewer, or raise --digits.")
          }
          continue
        }
        var messages = [ChatMessage(role: .user, content: instance.question)]
        if let system = instance.system { messages.insert(ChatMessage(role: .system, content: system), at: 0) }
        var task = VerifiableTask(
          name: kind.rawValue, messages: messages, demonstration: instance.answer, check: instance.check)
        if let errand = instance.errand {
          (task.tools, task.turns) = (Errand.tools.map(\.json), Errand.turns)
          (task.shownSteps, task.table) = (errand.steps, errand.table)
        }
        if keys.count <= heldOutCount { heldOut.append(task) } else { training.append(task) }
      }
    }
    var random = SplitMix64(seed: UInt64(bitPattern: Int64(seed)))
    training.shuffle(using: &random)
    heldOut.shuffle(using: &random)
  }
}
