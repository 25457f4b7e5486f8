import Programs

/// The rows of a batch cut into blocks of one length, of which each looks at itself and at as many before it as hold the longest
/// document: wherever documents lie, a token sees all of its own that is before it.
///
///     block      0    1    2    3    4    5
///     document   a a  a a  b b  b b  c c  d d        two blocks before: a token of 3 looks at the blocks 1, 2 and 3
///
/// The scores of a block are [length, window], the window being the longest document and a block, of which a document as long as
/// that needs its triangle, a half of its square. The rest is the price of shapes which are the same for every batch.
package struct DocumentBlocks {
  package let count, length: Int
  /// Tokens that a document may have, and [count·length] the number of each token's.
  package let longest: Int
  package let documents: Tensor
  /// Blocks of a window before its own.
  private let before: Int
  /// [count, 1, length, 1, window] whether a token (third axis) sees another of its window (the last).
  package let mask: Tensor

  /// - Parameters:
  ///   - documents: int32, [count·length] a number for each token's document, 0 or more.
  ///   - longest: tokens that a document may have.
  package init(documents: Tensor, length: Int, longest: Int) {
    (self.documents, self.length, self.longest) = (documents, length, longest)
    count = documents.shape[0] / length
    before = min((longest - 1 + length - 1) / length, count - 1)
    let own = documents.reshaped([count, length])
    let seen = Self.window(own, before, outside: -1)
    let window = seen.shape[1]
    let sameDocument =
      own.reshaped([count, 1, length, 1, 1]) .== seen.reshaped([count, 1, 1, 1, window])
    // A token's own place in its window is its place in the block, after the blocks before.
    let places = TensorType(.int32, sameDocument.shape)
    let isNotLater =
      documents.builder.iota(places, axis: 4)
      .<= documents.builder.iota(places, axis: 2) + Double(window - length)
    mask = sameDocument .& isNotLater
  }

  /// For each block, the rows of the blocks before it and its own: [count, length, …] becomes [count, window, …].
  package func window(_ rows: Tensor) -> Tensor { Self.window(rows, before, outside: 0) }

  private static func window(_ rows: Tensor, _ before: Int, outside: Double) -> Tensor {
    let count = rows.shape[0]
    let shifted = (0..<before).map { place in
      let distance = before - place
      return Tensor.concatenated(
        [rows.slice(0, 0..<distance).filled(outside), rows.slice(0, 0..<count - distance)], 0)
    }
    return .concatenated(shifted + [rows], 1)
  }

  /// The gradient of `window`: a row's is the sum of those from its own block's window and from the windows of the next blocks.
  package func windowBackward(_ dWindow: Tensor) -> Tensor {
    let parts = dWindow.split(1, [Int](repeating: length, count: before + 1))
    var sum = parts[before]
    for place in 0..<before {
      let distance = before - place
      let last = parts[place].slice(0, 0..<distance).filled(0)
      sum = sum + .concatenated([parts[place].slice(0, distance..<count), last], 0)
    }
    return sum
  }
}
