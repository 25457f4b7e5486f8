import Model
import Programs

/// The sizes of a pass, for which a program is made: the same for most batches of a run.
///
/// Rows are blocks of one length, a power of two that holds the longest document (see `DocumentBlocks`); their number is that
/// of the largest batch, or a half of it, or a quarter, and so on. So at most half of the rows are padding, in a full batch
/// none to speak of, and a run has a handful of programs.
///
/// The output layer is computed for the rows whose losses are asked for: all of them, or, where no more than a half have one, as
/// in fine-tuning on answers, for half of the rows, a quarter or an eighth.
struct PassShape: Hashable {
  private(set) var blockCount: Int
  let blockLength: Int
  /// Whether some rows do not come from the embedding table.
  let hasEmbedded: Bool

  private(set) var lossRows: Int

  var rows: Int { blockCount * blockLength }

  /// The least shape that holds a batch.
  ///
  /// - Parameters:
  ///   - maximumTokens: of any batch.
  ///   - lossWeights: [tokens] 0 where no loss is asked for; nil for a pass without losses.
  init(_ batch: Batch, maximumTokens: Int, lossWeights: [Float]?) {
    let longest = (0..<batch.documentCount).reduce(1) { max($0, batch.rows(ofDocument: $1).count) }
    self.init(
      tokens: batch.tokenCount, longestDocument: longest, maximumTokens: maximumTokens,
      hasEmbedded: !batch.embedded.isEmpty)
    guard let lossWeights else { return }
    let asked = lossWeights.count { $0 != 0 }
    while (lossRows + 1) / 2 >= asked && lossRows > (rows + 7) / 8 { lossRows = (lossRows + 1) / 2 }
  }

  init(tokens: Int, longestDocument: Int, maximumTokens: Int, hasEmbedded: Bool = false) {
    precondition((1...maximumTokens).contains(tokens), "\(tokens) tokens, room for \(maximumTokens)")
    self.hasEmbedded = hasEmbedded
    var length = 8
    while length < longestDocument { length *= 2 }
    blockLength = length
    let needed = (tokens + length - 1) / length
    blockCount = (maximumTokens + length - 1) / length
    while (blockCount + 1) / 2 >= needed && blockCount > 1 { blockCount = (blockCount + 1) / 2 }
    lossRows = blockCount * blockLength
  }
}
