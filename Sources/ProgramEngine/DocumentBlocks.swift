import Programs

/// The rows of a batch cut into blocks of one length, at least that of the longest document: a document lies in one block or
/// in two that follow each other, so a token that looks at its own block and the one before sees all of its document.
///
///     block      0           1           2
///     document   a a a a b b b b c c d d d d d d        a token of the first d looks at the blocks 0 and 1
///
/// The scores of a block are [length, 2·length], of which a document as long as the block needs its triangle, a quarter.
/// That is the price of shapes which are the same for every batch.
package struct DocumentBlocks {
  package let count, length: Int
  /// [count, 1, length, 1, window] whether a token (third axis) sees another of its window (the last).
  package let mask: Tensor

  /// - Parameter documents: int32, [count·length] a number for each token's document, 0 or more.
  package init(documents: Tensor, length: Int) {
    self.length = length
    count = documents.shape[0] / length
    let own = documents.reshaped([count, length])
    let seen = Self.window(own, outside: -1)
    let window = seen.shape[1]
    let sameDocument =
      own.reshaped([count, 1, length, 1, 1]) .== seen.reshaped([count, 1, 1, 1, window])
    // A token's own place in its window is its place in the block, after the block before.
    let places = TensorType(.int32, sameDocument.shape)
    let isNotLater =
      documents.builder.iota(places, axis: 4)
      .<= documents.builder.iota(places, axis: 2) + Double(window - length)
    mask = sameDocument .& isNotLater
  }

  /// For each block, the rows of the block before it and its own: [count, length, …] becomes [count, window, …].
  package func window(_ rows: Tensor) -> Tensor { Self.window(rows, outside: 0) }

  private static func window(_ rows: Tensor, outside: Double) -> Tensor {
    let count = rows.shape[0]
    guard count > 1 else { return rows }
    let before = Tensor.concatenated([rows.slice(0, 0..<1).filled(outside), rows.slice(0, 0..<count - 1)], 0)
    return .concatenated([before, rows], 1)
  }

  /// The gradient of `window`: a row's is that from its own block's window and that from the window of the next block.
  package func windowBackward(_ dWindow: Tensor) -> Tensor {
    guard count > 1 else { return dWindow }
    let parts = dWindow.split(1, [length, length])
    let first = parts[0].slice(0, 0..<1).filled(0)
    return parts[1] + .concatenated([parts[0].slice(0, 1..<count), first], 0)
  }
}
