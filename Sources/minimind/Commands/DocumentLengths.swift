import Corpus
import Foundation

/// How long documents are, in tokens.
struct DocumentLengths {
  /// Number of documents by length, in ascending order of length.
  private let counts: [(length: Int, documents: Int)]
  private let documentCount: Int
  private let tokenCount: Int

  /// - Parameter splits: together at least one document.
  init(_ splits: [TokenSplit]) {
    var table: [Int: Int] = [:]
    for shard in splits.flatMap(\.shards) {
      for document in 0..<shard.documentCount { table[shard.tokenRange(ofDocument: document).count, default: 0] += 1 }
    }
    counts = table.sorted { $0.key < $1.key }.map { (length: $0.key, documents: $0.value) }
    documentCount = counts.reduce(0) { $0 + $1.documents }
    tokenCount = counts.reduce(0) { $0 + $1.length * $1.documents }
  }

  var minimum: Int { counts.first?.length ?? 0 }
  var maximum: Int { counts.last?.length ?? 0 }
  var mean: Double { Double(tokenCount) / Double(max(1, documentCount)) }

  /// The smallest length that at least this share of the documents does not exceed.
  func quantile(_ share: Double) -> Int {
    let wanted = (share * Double(documentCount)).rounded(.up)
    var seen = 0
    for (length, documents) in counts {
      seen += documents
      if Double(seen) >= wanted { return length }
    }
    return maximum
  }

  /// A bar for each doubling of the length.
  func histogram(width: Int) -> String {
    var bins: [Int: Int] = [:]
    for (length, documents) in counts { bins[Int.bitWidth - 1 - length.leadingZeroBitCount, default: 0] += documents }
    let highest = max(1, bins.values.max() ?? 1)
    guard let first = bins.keys.min(), let last = bins.keys.max() else { return "" }
    return renderPairs(
      (first...last).map { bin in
        let documents = bins[bin] ?? 0
        let columns = documents == 0 ? 0 : max(1, documents * width / highest)
        let share = String(format: "%.1f%%", 100 * Double(documents) / Double(documentCount))
        let bar = String(repeating: "█", count: columns) + (columns > 0 ? " " : "")
        return (name: "\(1 << bin)–\(2 << bin - 1)".padded(to: 13), value: "\(bar)\(documents) (\(share))")
      })
  }
}
