/// Named numbers that add up over micro-batches, steps and processes. Each is kept as a sum and the weight that makes a
/// mean of it: a loss and its tokens, a reward and its pairs, the choices of an expert and those of all.
///
/// Everything that an objective or an engine reports is an entry here; adding, reducing over processes, dividing and
/// coding are the same for all. What is not additive (a largest share, an entropy) is derived from the sums when they
/// are complete.
package struct MetricSums: Sendable, Equatable {
  private struct Entry: Codable, Equatable {
    var name: String
    var sum: Double
    var weight: Double
  }

  private var entries: [Entry] = []

  /// Zeros under these names. Processes that reduce their sums begin with the same names, since one of them may have no
  /// batch.
  package init(_ names: [String] = []) { entries = names.map { Entry(name: $0, sum: 0, weight: 0) } }

  /// In the order in which they were first named.
  package var names: [String] { entries.map(\.name) }

  package mutating func add(_ name: String, _ sum: Double, weight: Double) {
    if let place = entries.firstIndex(where: { $0.name == name }) {
      entries[place].sum += sum
      entries[place].weight += weight
    } else {
      entries.append(Entry(name: name, sum: sum, weight: weight))
    }
  }

  package static func += (left: inout MetricSums, right: MetricSums) {
    for (place, entry) in right.entries.enumerated() {
      // Sums of one kind name the same things in the same order.
      if place < left.entries.count, left.entries[place].name == entry.name {
        left.entries[place].sum += entry.sum
        left.entries[place].weight += entry.weight
      } else {
        left.add(entry.name, entry.sum, weight: entry.weight)
      }
    }
  }

  /// 0 for a name under which nothing was added.
  package func sum(_ name: String) -> Double { entry(name)?.sum ?? 0 }
  package func weight(_ name: String) -> Double { entry(name)?.weight ?? 0 }

  /// Nil if the weight is 0: there is no mean over nothing.
  package func mean(_ name: String) -> Double? {
    entry(name).flatMap { $0.weight != 0 ? $0.sum / $0.weight : nil }
  }

  /// The means of all entries whose weight is not 0.
  package var means: [(name: String, value: Double)] {
    entries.compactMap { $0.weight != 0 ? ($0.name, $0.sum / $0.weight) : nil }
  }

  private func entry(_ name: String) -> Entry? { entries.first { $0.name == name } }

  /// Sum and weight of each name in turn: what processes with the same names add up.
  package var numbers: [Double] {
    get { entries.flatMap { [$0.sum, $0.weight] } }
    set {
      precondition(newValue.count == 2 * entries.count, "\(newValue.count) numbers for \(entries.count) names")
      for place in entries.indices {
        (entries[place].sum, entries[place].weight) = (newValue[2 * place], newValue[2 * place + 1])
      }
    }
  }
}

/// A JSON array of `{"name", "sum", "weight"}`, which keeps the order.
extension MetricSums: Codable {
  package init(from decoder: any Decoder) throws { entries = try [Entry](from: decoder) }
  package func encode(to encoder: any Encoder) throws { try entries.encode(to: encoder) }
}

/// The names under which an engine reports the experts of a mixture, in addition to what the objective does.
package enum ExpertSums {
  /// α · Σ balance, minimised in addition to the loss; by the documents' weights.
  package static let balance = "aux_loss"
  /// Followed by "layer/expert", both from 0: the choices of the expert, by those of all experts of the layer.
  package static let sharePrefix = "expert_shares/"
}
