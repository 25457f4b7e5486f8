/// A picture in a batch, which the engine encodes: its rows are those of the projector, not of the embedding table.
package struct BatchPicture: Sendable, Equatable {
  /// What is known of it.
  package enum Values: Sendable, Equatable {
    /// [3, imageSize, imageSize] as a `PictureProcessor` gives them: the tower is run.
    case pixels([Float])
    /// [rows, hiddenSize] of the tower (`VisionTowerConfiguration.featureRows`), which does not learn and has been run.
    case features([Float])
  }

  /// The rows of the batch that it fills.
  package private(set) var rows: Range<Int>
  package let values: Values

  /// - Precondition: there are rows.
  package init(rows: Range<Int>, values: Values) {
    precondition(!rows.isEmpty, "a picture without rows")
    self.rows = rows
    self.values = values
  }

  package mutating func move(by distance: Int) { rows = rows.lowerBound + distance..<rows.upperBound + distance }
}
