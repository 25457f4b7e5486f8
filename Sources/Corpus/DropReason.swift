/// Why a row is left out although nothing is wrong with it.
package enum DropReason: String, CaseIterable, Sendable {
  case noText = "no-text"
  case tooLong = "too-long"
  case emptyTurn = "empty-turn"
  case questionTooShort = "question-too-short"
  case questionTooLong = "question-too-long"
  case answerTooShort = "answer-too-short"
  case answerTooLong = "answer-too-long"
  case tooLittleCJK = "too-little-cjk"
  case singleTurn = "single-turn"
  case promptTooLong = "prompt-too-long"
  case pairTooLong = "pair-too-long"
  case toolTurns = "tool-turns"
  case noTrainedAnswer = "no-trained-answer"
  case equalAnswers = "equal-answers"
  case duplicate = "duplicate"
  case nearDuplicate = "near-duplicate"

  package var inWords: String {
    switch self {
    case .noText: "without text"
    case .tooLong: "longer than --max-characters"
    case .emptyTurn: "with an empty question or answer"
    case .questionTooShort: "question shorter than --min-question"
    case .questionTooLong: "question longer than --max-question"
    case .answerTooShort: "answer shorter than --min-answer"
    case .answerTooLong: "answer longer than --max-answer"
    case .tooLittleCJK: "no more CJK than --min-cjk-share"
    case .singleTurn: "of a single turn (--multi-turn-only)"
    case .promptTooLong: "prompt alone longer than --max-tokens"
    case .pairTooLong: "with an answer that, with its prompt, is longer than --max-tokens"
    case .toolTurns: "with calls or results of tools, for which the chat template has no place"
    case .noTrainedAnswer: "whose answers are all marked as not to be learned"
    case .equalAnswers: "chosen and rejected the same"
    case .duplicate: "repeated (--deduplicate)"
    case .nearDuplicate: "much like an earlier one (--near-duplicates)"
    }
  }
}
