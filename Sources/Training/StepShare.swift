import Corpus
import Model

/// What one process takes of a step's micro-batches: as many whole ones as all others. Those that are too few to go round
/// come first and are shared out by documents.
package struct StepShare {
  /// The tokens of all micro-batches.
  package let tokenCount: Int
  private let share: BatchShare
  private let splitCount: Int
  private let splitTokens: Int
  private let tokensBefore: [Int]

  /// - Parameter tokens: of each micro-batch.
  package init(_ tokens: [Int], rank: Int, ranks: Int) {
    share = BatchShare(rank: rank, count: ranks)
    splitCount = tokens.count % ranks
    splitTokens = tokens.prefix(splitCount).reduce(0, +)
    tokensBefore = tokens.reduce(into: [0]) { $0.append($0.last! + $1) }
    tokenCount = tokensBefore.last!
  }

  /// Whether anything of a micro-batch is this process's.
  package func contains(_ index: Int) -> Bool { index < splitCount || share.contains(index - splitCount) }

  /// The last micro-batch that is; nil for none.
  package var last: Int? { (0..<tokensBefore.count - 1).last(where: contains) }

  /// Leaves in a micro-batch what is this process's.
  ///
  /// - Parameters:
  ///   - index: the micro-batch's in the step.
  ///   - documentsPerSample: consecutive documents that stay together, as the two of a pair.
  /// - Returns: tokens of the step before those that are left.
  package func keepOwn(of batch: inout Batch, _ index: Int, documentsPerSample: Int) -> Int {
    guard index < splitCount else { return tokensBefore[index] }
    return tokensBefore[index]
      + batch.keep(share, before: tokensBefore[index], of: splitTokens, documentsPerSample: documentsPerSample)
  }
}
