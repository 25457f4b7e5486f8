import Machine
import Model
import Storage
import Synchronization
import Tokenization
import Vision

/// What a model has for eyes: files of pictures become rows of its prompts. Pictures that come again, as they do with every
/// question of a conversation, are not encoded again.
package final class Sight: Sendable {
  /// The tokens that stand for a picture.
  package let placeholder: [Int32]
  private let processor: PictureProcessor
  private let decoder = PictureDecoder()
  /// The most numbers that are kept.
  private static let keptValues = 1 << 24

  private struct State {
    /// One picture at a time, as a `PictureEncoder` wants it.
    let encoder: any PictureEncoder
    /// By SHA-256 of the file.
    var kept: [[UInt8]: (rows: [Float], lastUse: Int)] = [:]
    var clock = 0
    var statistics = Statistics()
  }

  /// What has been encoded so far.
  package struct Statistics: Sendable, Equatable {
    package var pictures = 0
    /// Reading, resizing and encoding them.
    package var seconds = 0.0
  }

  private let state: Mutex<State>

  /// - Precondition: the placeholder has a token for each row that the encoder makes of a picture.
  package init(_ encoder: sending any PictureEncoder, _ processor: PictureProcessor, placeholder: [Int32]) {
    precondition(encoder.rowsPerPicture == placeholder.count, "\(placeholder.count) tokens for a picture")
    self.placeholder = placeholder
    self.processor = processor
    state = Mutex(State(encoder: encoder))
  }

  /// The most bytes of a picture's file.
  package var byteLimit: Int { decoder.byteLimit }

  package var statistics: Statistics { state.withLock { $0.statistics } }

  /// The rows that a model reads in the place of a picture.
  ///
  /// - Parameter file: the bytes of a PNG, JPEG or WebP.
  /// - Returns: [placeholder, hiddenSize]
  /// - Throws: `PictureError`, `PictureSizeError`.
  package func rows(_ file: [UInt8]) throws -> [Float] {
    let digest = file.withUnsafeBytes { SHA256.digest($0) }
    return try state.withLock { state in
      state.clock += 1
      if let kept = state.kept[digest] {
        state.kept[digest]?.lastUse = state.clock
        return kept.rows
      }
      let start = monotonicSeconds()
      let values = try processor.values(try decoder.picture(file)).values
      let rows = try state.encoder.rows([values])[0]
      state.statistics.pictures += 1
      state.statistics.seconds += monotonicSeconds() - start
      let limit = max(1, Self.keptValues / max(1, rows.count))
      if state.kept.count >= limit, let oldest = state.kept.min(by: { $0.value.lastUse < $1.value.lastUse }) {
        state.kept[oldest.key] = nil
      }
      state.kept[digest] = (rows, state.clock)
      return rows
    }
  }

  /// The rows of a prompt that are those of pictures.
  ///
  /// - Parameters:
  ///   - places: in the order of tokens; a place whose number no picture has stays what its tokens say.
  ///   - rows: of each picture, by its number.
  package static func spans(_ places: [PlacedPicture], rows: [[Float]], rowsPerPicture: Int) -> [EmbeddedSpan] {
    places.filter { $0.number < rows.count }.map {
      EmbeddedSpan(rows: $0.token..<$0.token + rowsPerPicture, values: rows[$0.number])
    }
  }
}
