/// Makes rows of a language model from pictures: what fills an `EmbeddedSpan`.
///
/// Calls from several threads need a lock of the caller's: an encoder has one place for what it computes.
package protocol PictureEncoder: AnyObject {
  /// Rows that a picture becomes.
  var rowsPerPicture: Int { get }
  /// Numbers of such a row: the width of the language model.
  var hiddenSize: Int { get }

  /// - Parameter pixels: of each picture, [3, height, width], as a `PictureProcessor` gives them.
  /// - Returns: for each picture, [rowsPerPicture, hiddenSize].
  /// - Throws: `PictureSizeError` for pixels of another size than the tower's.
  func rows(_ pixels: [[Float]]) throws -> [[Float]]
}

/// Pixels that a tower cannot take.
package struct PictureSizeError: Error, Equatable, CustomStringConvertible {
  package var found: Int
  /// Pixels of a side.
  package var expected: Int

  package init(found: Int, expected: Int) {
    self.found = found
    self.expected = expected
  }

  package var description: String {
    "A picture has \(found) numbers after it was prepared; the tower takes 3 × \(expected) × \(expected). "
      + "The sizes in preprocessor_config.json and in config.json differ."
  }
}
