import Templates

/// What stands for a picture in the content of a message: one of 32 code points that are no characters, its number in the
/// conversation. A template renders it like any text, and the model's placeholder takes its place in the tokens.
package enum PictureMark {
  /// The most pictures of a conversation.
  package static let limit = 32
  private static let scalars: ClosedRange<UInt32> = 0xFDD0...0xFDEF
  /// What stands for a picture in the texts of data sets.
  package static let placeholder = "<image>"

  /// - Precondition: `number` is below `limit`.
  package static func text(_ number: Int) -> String {
    String(Character(Unicode.Scalar(scalars.lowerBound + UInt32(number))!))
  }

  static func number(_ scalar: Unicode.Scalar) -> Int? {
    scalars.contains(scalar.value) ? Int(scalar.value - scalars.lowerBound) : nil
  }

  /// The marks of a text.
  package static func count(in text: String) -> Int { text.unicodeScalars.count { number($0) != nil } }

  /// A text of a data set, with marks for its placeholders `<image>`; those beyond `limit` stay.
  ///
  /// - Parameter number: the first picture's.
  /// - Returns: the text, and the number of the picture after its last.
  package static func placed(_ text: String, from number: Int) -> (text: String, next: Int) {
    var (result, next) = ("", number)
    let text = cleaned(text)
    var rest = text[...]
    while let range = rest.firstRange(of: placeholder) {
      result += rest[..<range.lowerBound]
      result += next < limit ? PictureMark.text(next) : placeholder
      next += 1
      rest = rest[range.upperBound...]
    }
    return (result + rest, next)
  }

  /// The text with other numbers of its marks: those of a conversation that it becomes a part of.
  ///
  /// - Precondition: no number becomes `limit` or more.
  package static func shifted(_ text: String, by distance: Int) -> String {
    guard distance > 0 else { return text }
    return String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { scalar in
          number(scalar) == nil ? scalar : Unicode.Scalar(scalar.value + UInt32(distance))!
        }))
  }

  /// The text with U+FFFD for the code points that are marks: what a user wrote is none.
  package static func cleaned(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { number($0) != nil }) else { return text }
    return String(String.UnicodeScalarView(text.unicodeScalars.map { number($0) == nil ? $0 : "\u{FFFD}" }))
  }
}

/// A picture of a conversation among its tokens.
package struct PlacedPicture: Sendable, Equatable {
  /// Its number in the conversation, from 0.
  package let number: Int
  /// The first of the tokens that stand for it.
  package var token: Int

  package init(number: Int, token: Int) {
    self.number = number
    self.token = token
  }
}

/// Tokens, and the pictures among them.
package struct PicturedTokens: Sendable {
  package var ids: [Int32]
  package private(set) var pictures: [PlacedPicture] = []

  package init(ids: [Int32] = []) { self.ids = ids }

  /// The tokens of consecutive parts.
  package init(_ parts: [TemplatePart]) {
    self.init()
    for part in parts {
      var tokens = PicturedTokens(ids: part.ids)
      tokens.pictures = part.pictures
      append(tokens)
    }
  }

  package mutating func append(_ other: PicturedTokens) {
    for picture in other.pictures {
      pictures.append(PlacedPicture(number: picture.number, token: ids.count + picture.token))
    }
    ids += other.ids
  }

  fileprivate mutating func appendPicture(_ number: Int, _ placeholder: [Int32]) {
    pictures.append(PlacedPicture(number: number, token: ids.count))
    ids += placeholder
  }

  /// Those that begin in a range; places are counted from its start.
  func pictures(in range: Range<Int>) -> [PlacedPicture] {
    pictures.filter { range.contains($0.token) }.map {
      PlacedPicture(number: $0.number, token: $0.token - range.lowerBound)
    }
  }
}

extension ChatTemplate {
  /// The tokens of a rendered conversation, with placeholders for pictures. What stands between pictures is encoded by itself,
  /// as between added tokens.
  ///
  /// - Throws: as `Tokenizer.encode`.
  package func encode(
    _ pieces: [RenderedText.Piece], with tokenizer: Tokenizer
  ) throws(TokenizerError) -> PicturedTokens {
    guard !pictureTokens.isEmpty else { return PicturedTokens(ids: try tokenizer.encode(pieces)) }
    var result = PicturedTokens()
    var waiting: [RenderedText.Piece] = []
    for piece in pieces {
      var rest = piece.text.unicodeScalars[...]
      while let place = rest.firstIndex(where: { PictureMark.number($0) != nil }) {
        let before = String(rest[..<place])
        if !before.isEmpty { waiting.append(.init(text: before, isContent: piece.isContent)) }
        result.ids += try tokenizer.encode(waiting)
        waiting = []
        result.appendPicture(PictureMark.number(rest[place])!, pictureTokens)
        rest = rest[rest.index(after: place)...]
      }
      if !rest.isEmpty { waiting.append(.init(text: String(rest), isContent: piece.isContent)) }
    }
    result.ids += try tokenizer.encode(waiting)
    return result
  }
}
