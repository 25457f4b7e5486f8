/// Data that cannot be read, or a data directory that cannot be used: one sentence with the place and what to do.
package struct CorpusError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// What is wrong with one row of an input file; the row is counted and left out.
package struct RowProblem: Error, Equatable, Sendable {
  package let reason: String
  package init(_ reason: String) { self.reason = reason }
}
