import Compute
import Model

/// Which rank keeps the moments of which weights, and moves them (ZeRO stage 1, Rajbhandari et al. 2020,
/// arXiv 1910.02054): every weight belongs to one rank.
///
/// Of each unit in which gradients become complete, a rank gets a contiguous part of what AdamW moves, by elements. Muon's matrices go
/// whole to ranks, by the work that they are.
struct OptimizerPartition {
  /// A stretch of the block of weights with one decay and one owner. The cuts do not depend on the numbers of workers and
  /// ranks, so neither do the sums over them.
  struct Piece {
    var range: Range<Int>
    var isDecayed: Bool
    /// Whether AdamW moves it, rather than Muon.
    var isMovedByAdamW: Bool
    var owner: Int
  }
  static let pieceCount = 1 << 16

  /// All pieces, in the order of the weights.
  let pieces: [Piece]
  /// Muon's matrices by rank.
  let matrices: [[ParameterEntry]]
  /// For each layer, in the order in which the backward pass leaves them, and for what lies outside the layers: what each
  /// rank sums. One unit where the gradients of all layers are complete at the end only.
  let units: [[[Range<Int>]]]
  /// All of it.
  let parts: [[Range<Int>]]

  /// - Parameter byLayer: whether the gradients of a layer are complete before those of the layers below.
  init(_ table: ParameterTable, _ kind: OptimizerKind, ranks: Int, byLayer: Bool) {
    matrices = balanced(table.entries.filter { $0.isMovedByMuon(kind) }, over: ranks)
    var owners: [String: Int] = [:]
    for (rank, entries) in matrices.enumerated() {
      for entry in entries { owners[entry.key] = rank }
    }
    var pieces: [Piece] = []
    var units: [[[Range<Int>]]] = []
    for (index, entries) in Self.units(table, byLayer: byLayer).enumerated() {
      var unit: [Piece] = []
      for entry in entries {
        for offset in stride(from: 0, to: entry.count, by: Self.pieceCount) {
          let start = entry.offset + offset
          unit.append(
            Piece(
              range: start..<start + min(Self.pieceCount, entry.count - offset), isDecayed: entry.role.isDecayed,
              isMovedByAdamW: owners[entry.key] == nil, owner: owners[entry.key] ?? 0))
        }
      }
      let total = unit.reduce(0) { $0 + ($1.isMovedByAdamW ? $1.range.count : 0) }
      var before = 0
      for place in unit.indices where unit[place].isMovedByAdamW {
        let middle = before + unit[place].range.count / 2
        // Another rank is first in each unit, so that roundings do not all favour the same one.
        unit[place].owner = (middle * ranks / total + index) % ranks
        before += unit[place].range.count
      }
      units.append(Self.parts(of: unit, ranks: ranks))
      pieces += unit
    }
    pieces.sort { $0.range.lowerBound < $1.range.lowerBound }
    self.pieces = pieces
    self.units = units
    parts = Self.parts(of: pieces, ranks: ranks)
  }

  private static func units(_ table: ParameterTable, byLayer: Bool) -> [[ParameterEntry]] {
    guard byLayer else { return [table.entries] }
    var layers: [Int: [ParameterEntry]] = [:]
    for entry in table.entries { layers[entry.layer ?? -1, default: []].append(entry) }
    return layers.keys.sorted(by: >).map { layers[$0]! }
  }

  /// Ranges by owner; neighbours are joined across the zeros that lie between weights.
  private static func parts(of pieces: [Piece], ranks: Int) -> [[Range<Int>]] {
    var parts = [[Range<Int>]](repeating: [], count: ranks)
    for piece in pieces {
      if let last = parts[piece.owner].last, piece.range.lowerBound - last.upperBound < 16,
        last.count < 1 << 26
      {
        parts[piece.owner][parts[piece.owner].count - 1] = last.lowerBound..<piece.range.upperBound
      } else {
        parts[piece.owner].append(piece.range)
      }
    }
    return parts
  }

  /// Elements of the moments that a rank keeps.
  func momentCount(rank: Int) -> Int {
    pieces.reduce(0) { $0 + ($1.owner == rank ? $1.range.count * ($1.isMovedByAdamW ? 2 : 1) : 0) }
  }
}

/// The matrices of each of `count` workers or ranks: the costliest first, each to the one that has least to do. Whole
/// matrices need no barriers, and give the same bits for any number of workers.
func balanced(_ matrices: [ParameterEntry], over count: Int) -> [[ParameterEntry]] {
  var shares = [[ParameterEntry]](repeating: [], count: count)
  var costs = [Int](repeating: 0, count: count)
  func cost(_ entry: ParameterEntry) -> Int { Muon.operationCount(rows: entry.shape[0], columns: entry.shape[1]) }
  for entry in matrices.sorted(by: { (cost($0), $1.offset) > (cost($1), $0.offset) }) {
    let least = costs.indices.min { costs[$0] < costs[$1] }!
    shares[least].append(entry)
    costs[least] += cost(entry)
  }
  return shares
}
