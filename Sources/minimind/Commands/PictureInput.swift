import CPUEngine
import Compute
import Foundation
import Model
import ModelFiles
import Storage
import Tokenization
import Vision

/// Pictures from files for a model that sees: what its tower is given, and the rows that take the place of placeholders.
struct PictureInput {
  let encoder: any PictureEncoder
  /// [rowsPerPicture] the tokens that stand for a picture.
  let placeholder: [Int32]
  private let processor: PictureProcessor

  /// - Parameters:
  ///   - modelDirectory: as `resolveModelDirectory` gives it.
  ///   - type: that of the language model's weights; with fp32 the tower's are exact, too.
  /// - Throws: `CommandError` for a model that does not see; what reading its tower throws.
  init(modelDirectory: String, type: WeightType, team: WorkerTeam) throws {
    let stored = try StoredModel(modelDirectory: modelDirectory)
    guard let sight = stored.configuration.sight else {
      throw CommandError(
        "\(modelDirectory) is a model of text alone: it has no vision tower. Choose one that sees, or leave out --image."
      )
    }
    processor = try PictureProcessor(sight, path: modelDirectory)
    placeholder = sight.placeholder
    encoder = try CPUPictureEncoder(
      stored.configuration, precision: type == .float32 ? .float32 : .fastest, team: team, read: stored.read)
  }

  /// [rowsPerPicture, hiddenSize] of each file.
  ///
  /// - Throws: `FileError`, `CommandError` for a file that is no picture, `PictureSizeError`.
  func rows(files: [String]) throws -> [[Float]] {
    try encoder.rows(
      files.map { path in
        let bytes = try MappedFile.contents(of: path)
        do throws(PictureError) { return try processor.values(PictureDecoder().picture(bytes)).values } catch {
          throw CommandError("\(path) \(error.description)")
        }
      })
  }
}

/// A prompt with pictures in it.
struct PicturePrompt {
  private(set) var tokens: [Int32]
  private(set) var embedded: [EmbeddedSpan] = []

  /// - Parameters:
  ///   - text: its marks stand for the pictures in their order; without marks the pictures come first, each in a line.
  ///   - rows: of each picture.
  ///   - begin: what comes before everything, unless the text begins with it.
  ///   - encode: the tokens of a piece of the text.
  /// - Throws: `CommandError` where marks and pictures are not as many.
  init(
    _ text: String, rows: [[Float]], _ input: PictureInput, begin: [Int32], encode: (String) throws -> [Int32]
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
        let place = tokens.count..<tokens.count + input.placeholder.count
        tokens += input.placeholder
        embedded.append(EmbeddedSpan(rows: place, values: rows[index - 1]))
      }
      tokens += encoded
    }
  }
}
