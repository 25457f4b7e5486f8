/// What a teacher finds likeliest after some rows: the tokens of its largest probabilities, with these, and what is left for all
/// other tokens together.
package struct LargestProbabilities: Sendable, Equatable {
  /// K: tokens of each row.
  package private(set) var count: Int
  /// [rows, count] different ids.
  package private(set) var tokens: [Int32] = []
  /// [rows, count + 1] natural logarithms, at the temperature that the teacher was asked at; the last of a row is that of all other
  /// tokens together.
  package private(set) var logarithms: [Float] = []

  package init(count: Int) {
    precondition(count > 0, "no tokens of a row")
    self.count = count
  }

  package var rowCount: Int { tokens.count / count }

  package mutating func removeAll() {
    tokens.removeAll(keepingCapacity: true)
    logarithms.removeAll(keepingCapacity: true)
  }

  /// Adds a row.
  ///
  /// - Parameters:
  ///   - tokens: [count].
  ///   - logarithms: [count + 1].
  package mutating func append(tokens: some Collection<Int32>, logarithms: some Collection<Float>) {
    precondition(
      tokens.count == count && logarithms.count == count + 1, "\(tokens.count) tokens, \(logarithms.count) numbers")
    self.tokens += tokens
    self.logarithms += logarithms
  }

  /// Leaves only some consecutive rows.
  mutating func keep(rows: Range<Int>) {
    tokens = Array(tokens[rows.lowerBound * count..<rows.upperBound * count])
    logarithms = Array(logarithms[rows.lowerBound * (count + 1)..<rows.upperBound * (count + 1)])
  }
}
