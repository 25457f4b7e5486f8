import Foundation
import Storage

/// Pictures in rows, each with what was asked about it and what was answered, as one picture (SVG).
package struct ContactSheet: Sendable {
  package struct Card: Sendable {
    /// The file of the picture, and its media type.
    package var picture: [UInt8]
    package var mediaType: String
    /// The question, in lines that fit.
    package var question: [String]
    package var answer: String
    package var isRight: Bool

    package init(picture: [UInt8], mediaType: String, question: [String], answer: String, isRight: Bool) {
      self.picture = picture
      self.mediaType = mediaType
      self.question = question
      self.answer = answer
      self.isRight = isRight
    }
  }

  private let title: String
  private let cards: [Card]

  package init(title: String, cards: [Card]) {
    self.title = title
    self.cards = cards
  }

  private static let columns = 5
  /// Pixels of a card, and of the picture in it.
  private static let card = (width: 212, height: 216)
  private static let side = 128
  /// Columns of a line of text that fits into a card.
  package static let lineWidth = 33

  package func svg() -> String {
    let rows = (cards.count + Self.columns - 1) / Self.columns
    let (width, height) = (Self.columns * Self.card.width + 16, rows * Self.card.height + 48)
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(height)" width="\(width)" height="\(height)" \
      font-family="system-ui, sans-serif" font-size="12">
      <rect width="100%" height="100%" fill="#ffffff"/>
      <text x="16" y="26" font-size="16" font-weight="600" fill="#1b1f24">\(escapedForXML(title))</text>
      \(cards.enumerated().map { drawn($1, at: $0) }.joined(separator: "\n"))
      </svg>

      """
  }

  package func write(to path: String) throws { try AtomicFile.write(svg(), to: path) }

  private func drawn(_ card: Card, at index: Int) -> String {
    let (x, y) = (16 + index % Self.columns * Self.card.width, 44 + index / Self.columns * Self.card.height)
    let data = Data(card.picture).base64EncodedString()
    let lines = card.question.enumerated().map { line, text in
      "<text x=\"\(x)\" y=\"\(y + Self.side + 16 + 15 * line)\" fill=\"#444c56\">\(escapedForXML(text))</text>"
    }
    let (mark, colour) = card.isRight ? ("✓", "#1a7f37") : ("✗", "#b42318")
    return """
      <image x="\(x)" y="\(y)" width="\(Self.side)" height="\(Self.side)" href="data:\(card.mediaType);base64,\(data)"/>
      \(lines.joined(separator: "\n"))
      <text x="\(x)" y="\(y + Self.side + 16 + 15 * card.question.count)" font-weight="600" fill="\(colour)">\(mark) \
      \(escapedForXML(card.answer))</text>
      """
  }
}
