import Model

/// The order of the rows of Wq and Wk, which depends on what rotary embedding turns against what.
///
/// This program turns the pairs (i, i + size/2) of a head, as Llama does in `transformers`. MiniMind v1's own files and
/// `Ernie4_5_MoeForCausalLM` turn adjacent ones, (2i, 2i + 1). The same model has the rows of each head in another order.
package enum RotaryRows {
  /// From the order of adjacent pairs to this program's, in place.
  ///
  /// - Parameter values: [rows, columns]; `rows` is a multiple of `headSize`.
  package static func split(_ values: UnsafeMutablePointer<Float>, rows: Int, columns: Int, headSize: Int) {
    reorder(values, rows: rows, columns: columns, headSize: headSize) {
      2 * ($0 % (headSize / 2)) + $0 / (headSize / 2)
    }
  }

  /// From this program's order to that of adjacent pairs, in place: undoes `split`.
  package static func interleave(_ values: UnsafeMutablePointer<Float>, rows: Int, columns: Int, headSize: Int) {
    reorder(values, rows: rows, columns: columns, headSize: headSize) { $0 % 2 * (headSize / 2) + $0 / 2 }
  }

  /// Row `place` of each head comes from row `source(place)`.
  private static func reorder(
    _ values: UnsafeMutablePointer<Float>, rows: Int, columns: Int, headSize: Int, source: (_ place: Int) -> Int
  ) {
    precondition(headSize % 2 == 0 && rows % headSize == 0, "\(rows) rows in heads of \(headSize)")
    withUnsafeTemporaryAllocation(of: Float.self, capacity: headSize * columns) { copy in
      for head in 0..<rows / headSize {
        let base = values + head * headSize * columns
        _ = copy.update(fromContentsOf: UnsafeBufferPointer(start: base, count: headSize * columns))
        for place in 0..<headSize {
          (base + place * columns).update(from: copy.baseAddress! + source(place) * columns, count: columns)
        }
      }
    }
  }
}

extension ModelConfiguration {
  /// Whether a Hugging Face directory of this model has the rows of Wq and Wk in the order of adjacent pairs.
  var storesAdjacentPairs: Bool { Architecture(self) == .ernieMixture }
}
