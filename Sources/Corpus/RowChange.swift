/// What was done to a row to make it fit; it is kept.
package enum RowChange: String, CaseIterable, Sendable {
  case split
  case oldTurnsRemoved = "old-turns-removed"
  case answerCut = "answer-cut"
  case openingAnswerRemoved = "opening-answer-removed"
  case answersApart = "answers-apart"
  case answersLeftOut = "answers-left-out"
  case systemAdded = "system-added"
  case emptyThinkingRemoved = "empty-thinking-removed"
  case surrogatesReplaced = "surrogates-replaced"

  package var inWords: String {
    switch self {
    case .split: "split, longer than --max-characters"
    case .oldTurnsRemoved: "without their oldest turns, longer than --max-tokens"
    case .answerCut: "with the answer's end cut off, longer than --max-tokens"
    case .openingAnswerRemoved: "without an answer that stood before the first question"
    case .answersApart: "as a document for each answer, since the chat template shows earlier answers otherwise"
    case .answersLeftOut: "without answers whose prompt alone is longer than --max-tokens"
    case .systemAdded: "with a system message added (--system-prompt-share)"
    case .emptyThinkingRemoved: "without empty thoughts (--drop-empty-thinking-share)"
    case .surrogatesReplaced: "with half characters (lone surrogates) replaced by U+FFFD"
    }
  }
}
