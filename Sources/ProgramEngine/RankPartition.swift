import Model

/// Which of several processes keeps the moments of which weights, and moves them: each weight belongs to one rank as a whole, the
/// largest first, each to the rank that has the fewest numbers.
struct RankPartition {
  /// The elements of the trained weights that each rank moves.
  let parts: [[Range<Int>]]
  /// By the keys of the weights.
  private let ranks: [String: Int]

  init(_ trained: ParameterTable, ranks count: Int) {
    var ranks: [String: Int] = [:]
    var sizes = [Int](repeating: 0, count: count)
    for entry in trained.entries.sorted(by: { ($0.count, $1.offset) > ($1.count, $0.offset) }) {
      let rank = sizes.indices.min { sizes[$0] < sizes[$1] }!
      ranks[entry.key] = rank
      sizes[rank] += entry.count
    }
    self.ranks = ranks
    parts = (0..<count).map { rank in trained.entries.filter { ranks[$0.key] == rank }.map(\.range) }
  }

  func rank(of entry: ParameterEntry) -> Int { ranks[entry.key]! }
}
