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

  /// The least shape that holds each part of a batch.
  ///
  /// - Parameters:
  ///   - maximumTokens: of any part.
  ///   - lossWeights: [tokens] of the batch, 0 where no loss is asked for; nil for a pass without losses.
  init(_ parts: BatchParts, maximumTokens: Int, lossWeights: [Float]?) {
    let longest = parts.parts.flatMap { part in (0..<part.documentCount).map { part.rows(ofDocument: $0).count } }
    self.init(
      tokens: parts.rows.map(\.count).max()!, longestDocument: longest.max() ?? 1, maximumTokens: maximumTokens,
      hasEmbedded: parts.parts.contains { !$0.embedded.isEmpty })
    guard let lossWeights else { return }
    let asked = parts.rows.map { lossWeights[$0].count { $0 != 0 } }.max()!
    while (lossRows + 1) / 2 >= asked && lossRows > (rows + 7) / 8 { lossRows = (lossRows + 1) / 2 }
  }

  /// The most tokens of a replica's part of a batch: a document that reaches into the next part makes it longer than the
  /// others.
  static func mostTokens(of maximumTokens: Int, longestDocument: Int, replicas: Int) -> Int {
    replicas == 1 ? maximumTokens : min(maximumTokens, (maximumTokens + replicas - 1) / replicas + longestDocument)
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
