import Foundation
import Model

/// How a step used the experts of a mixture.
package struct ExpertReport: Sendable, Equatable {
  /// What the step minimised in addition to the mean loss: α · Σ over layers of the mean balance over documents. α times the
  /// number of layers where all experts are used evenly.
  package var balanceLoss: Double
  /// For each layer, the share of all choices that each expert had.
  package var shares: [[Double]]

  package init(balanceLoss: Double, shares: [[Double]]) {
    self.balanceLoss = balanceLoss
    self.shares = shares
  }

  /// - Parameter sums: with those of `ExpertSums`; nil where there are none, as for a dense model.
  package init?(_ sums: MetricSums) {
    var shares: [[Double]] = []
    for name in sums.names where name.hasPrefix(ExpertSums.sharePrefix) {
      if name.hasSuffix("/0") { shares.append([]) }
      shares[shares.count - 1].append(sums.mean(name) ?? 0)
    }
    guard !shares.isEmpty else { return nil }
    self.init(balanceLoss: sums.mean(ExpertSums.balance) ?? 0, shares: shares)
  }

  /// The share of the busiest expert of any layer.
  package var largestShare: Double { shares.flatMap { $0 }.max() ?? 0 }

  /// The entropy of the shares as a part of the largest possible, mean over layers: 1 where all experts are used evenly, 0
  /// where each layer uses one.
  package var entropy: Double {
    let entropies = shares.map { shares in
      shares.count < 2 ? 1 : -shares.reduce(0) { $0 + ($1 > 0 ? $1 * log($1) : 0) } / log(Double(shares.count))
    }
    return entropies.isEmpty ? 1 : entropies.reduce(0, +) / Double(entropies.count)
  }
}
