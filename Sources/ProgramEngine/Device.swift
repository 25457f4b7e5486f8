import Programs

/// A runner as engines use it, which cannot throw: from its first failure on a device computes nothing, and says why.
final class Device<Runner: ProgramRunner> {
  let runner: Runner
  private(set) var failure: (any Error)?
  /// Of the model that asked first; nil before that, and where the runner has no kernel.
  var attention: AttentionVerdict?

  init(_ runner: Runner) { self.runner = runner }

  /// What `body` gives; nil where it fails, or anything before it has.
  func attempt<Result>(_ body: () throws -> Result) -> Result? {
    guard failure == nil else { return nil }
    do { return try body() } catch {
      failure = error
      return nil
    }
  }
}
