/// Separates the reasoning from an answer that comes in pieces: the text in `<think>` at its very beginning, as models
/// that were trained to reason write it. Space around either part is left out; an answer that begins otherwise is
/// passed on as it is.
package struct ReasoningSplitter {
  private enum Place {
    /// Nothing but space and what may become `<think>` has come.
    case start
    case reasoning
    /// Only space has come since `</think>`.
    case gap
    case answer
  }

  private static let opening = "<think>"
  private static let closing = "</think>"

  private var place = Place.start
  /// What is not decided yet.
  private var held = ""

  /// - Parameter isOpen: whether the prompt has begun the reasoning, so that only its end is in the answer.
  package init(isOpen: Bool = false) {
    if isOpen { place = .reasoning }
  }

  /// Whether the reasoning has begun and not ended.
  package var isReasoning: Bool { place == .reasoning }

  /// Adds text. Returns what is known to be reasoning, and what is known to be the answer.
  package mutating func push(_ text: String) -> (reasoning: String, answer: String) {
    if place == .answer { return ("", text) }
    held += text
    var reasoning = ""
    if place == .start {
      let begun = held.drop(while: \.isWhitespace)
      if begun.hasPrefix(Self.opening) {
        (held, place) = (String(begun.dropFirst(Self.opening.count)), .reasoning)
      } else if !Self.opening.hasPrefix(begun) {
        place = .answer
      }
    }
    if place == .reasoning {
      if let end = held.firstRange(of: Self.closing) {
        reasoning = String(held[..<end.lowerBound])
        (held, place) = (String(held[end.upperBound...]), .gap)
      } else {
        // The end may be the beginning of the tag.
        let kept = (1..<Self.closing.count).last { held.hasSuffix(Self.closing.prefix($0)) } ?? 0
        reasoning = String(held.dropLast(kept))
        held = String(held.suffix(kept))
      }
    }
    if place == .gap {
      held = String(held.drop(while: \.isWhitespace))
      if !held.isEmpty { place = .answer }
    }
    guard place == .answer else { return (reasoning, "") }
    defer { held = "" }
    return (reasoning, held)
  }

  /// What is left at the end.
  package mutating func finish() -> (reasoning: String, answer: String) {
    defer { held = "" }
    return place == .reasoning ? (held, "") : ("", held)
  }
}
