/// More work than an automaton is worth: its text describes too many states.
struct AutomatonTooLarge: Error {}

/// What the form of one answer may cost to compile: less than a tenth of a second, and some megabytes.
struct CompilationBudget {
  /// What is left, in steps of the construction of an automaton, of about 50 ns.
  private var work = 700_000
  /// Steps that a comparison of a value or of another schema with a schema takes, taking one together with others, and
  /// finding what a reference leads to.
  static let comparison = 3
  static let conjunction = 30
  static let reference = 120
  static let maximumStates = 20_000
  /// Steps that counting the characters of one text may take.
  static let counting = 150_000
  /// States of the automaton before it is made deterministic.
  static let maximumPlaces = 60_000
  static let maximumEdges = 400_000

  mutating func spend(_ steps: Int) throws(AutomatonTooLarge) {
    if !allows(steps) { throw AutomatonTooLarge() }
  }

  /// Takes steps off what is left; false where that was less.
  mutating func allows(_ steps: Int) -> Bool {
    work = max(-1, work - steps)
    return work >= 0
  }
}
