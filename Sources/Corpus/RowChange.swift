/// What was done to a row to make it fit; it is kept.
package enum RowChange: String, CaseIterable, Sendable {
  case split
  case oldTurnsRemoved = "old-turns-removed"
  case answerCut = "answer-cut"
  case openingAnswerRemoved = "opening-answer-removed"
  case surrogatesReplaced = "surrogates-replaced"

  package var inWords: String {
    switch self {
    case .split: "split, longer than --max-characters"
    case .oldTurnsRemoved: "without their oldest turns, longer than --max-tokens"
    case .answerCut: "with the answer's end cut off, longer than --max-tokens"
    case .openingAnswerRemoved: "without an answer that stood before the first question"
    case .surrogatesReplaced: "with half characters (lone surrogates) replaced by U+FFFD"
    }
  }
}
