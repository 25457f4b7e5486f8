import Model

/// A batch as several replicas share it: each has some of its documents in their order, none at all where there are too few.
struct BatchParts {
  /// [replicas]
  let parts: [Batch]
  /// [replicas] the tokens of each in the batch.
  let rows: [Range<Int>]

  /// Cuts a batch so that each document belongs to the equal part of all tokens that holds its middle.
  init(_ batch: Batch, replicas: Int) {
    let total = batch.tokenCount
    var parts: [Batch] = []
    var rows: [Range<Int>] = []
    var (document, row) = (0, 0)
    for replica in 0..<replicas {
      let (first, start) = (document, row)
      while document < batch.documentCount {
        let own = batch.rows(ofDocument: document)
        guard (own.lowerBound + own.upperBound) * replicas / (2 * total) <= replica else { break }
        (document, row) = (document + 1, own.upperBound)
      }
      var part = batch
      if replicas > 1 { part.keep(documents: first..<document) }
      parts.append(part)
      rows.append(start..<row)
    }
    (self.parts, self.rows) = (parts, rows)
  }

  /// Gives every replica the whole batch.
  init(copies: Int, of batch: Batch) {
    parts = Array(repeating: batch, count: copies)
    rows = Array(repeating: 0..<batch.tokenCount, count: copies)
  }

  /// The part of [tokens] numbers that belongs to a replica.
  func own<Number>(_ numbers: [Number], _ replica: Int) -> [Number] { Array(numbers[rows[replica]]) }
}
