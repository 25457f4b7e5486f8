import Foundation
import Model
import Tokenization

/// A prompt with pictures in it.
struct PicturePrompt {
  private(set) var tokens: [Int32]
  private(set) var embedded: [EmbeddedSpan] = []

  /// - Parameters:
  ///   - text: its marks stand for the pictures in their order; without marks the pictures come first, each in a line.
  ///   - rows: of each picture.
  ///   - placeholder: the tokens that stand for one.
  ///   - begin: what comes before everything, unless the text begins with it.
  ///   - encode: the tokens of a piece of the text.
  /// - Throws: `CommandError` where marks and pictures are not as many.
  init(
    _ text: String, rows: [[Float]], placeholder: [Int32], begin: [Int32], encode: (String) throws -> [Int32]
  ) throws {
    let marks = text.components(separatedBy: PictureMark.placeholder).count - 1
    guard marks == 0 || marks == rows.count else {
      throw CommandError(
        "the prompt has \(marks) \(PictureMark.placeholder), and there \(rows.count == 1 ? "is 1 picture" : "are \(rows.count) pictures"). "
          + "Give one --image for each, or leave the marks out.")
    }
    let marked = marks > 0 ? text : String(repeating: PictureMark.placeholder + "\n", count: rows.count) + text
    tokens = begin
    for (index, piece) in marked.components(separatedBy: PictureMark.placeholder).enumerated() {
      let encoded = piece.isEmpty ? [] : try encode(piece)
      if index == 0 {
        if !begin.isEmpty, encoded.starts(with: begin) { tokens = [] }
      } else {
        let place = tokens.count..<tokens.count + placeholder.count
        tokens += placeholder
        embedded.append(EmbeddedSpan(rows: place, values: rows[index - 1]))
      }
      tokens += encoded
    }
  }
}
