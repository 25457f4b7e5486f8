/// Questions or texts that cannot be measured with: one sentence with the place and what to do.
package struct EvaluationError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
