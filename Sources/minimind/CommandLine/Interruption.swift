import Foundation
import Synchronization

/// Turns Ctrl-C and `kill` into a flag that long loops look at, so that they can save before they stop.
package enum Interruption {
  private static let flag = Atomic<Bool>(false)

  /// Whether the user has asked to stop.
  package static var isRequested: Bool { flag.load(ordering: .relaxed) }

  /// - Throws: `Interrupted` when the user has asked to stop.
  package static func check() throws {
    if isRequested { throw Interrupted() }
  }

  /// SIGUSR1 is what schedulers of clusters warn with, and what `mpirun` passes on.
  private static let signals = [SIGINT, SIGTERM, SIGUSR1]

  /// From now on the first SIGINT, SIGTERM or SIGUSR1 sets the flag, and the second ends the process at once.
  ///
  /// Only commands that look at the flag call this; for the others Ctrl-C keeps its usual meaning.
  package static func watch() {
    // Touches the flag, so that the handler never runs its first-use initialisation.
    flag.store(false, ordering: .relaxed)
    for number in signals {
      signal(number) { _ in
        if Interruption.flag.exchange(true, ordering: .relaxed) { _exit(130) }
      }
    }
  }

  /// Ctrl-C and `kill` end the process again.
  package static func stopWatching() {
    for number in signals { signal(number, SIG_DFL) }
    flag.store(false, ordering: .relaxed)
  }

  /// Ctrl-C does nothing from now on.
  package static func ignore() { signal(SIGINT, SIG_IGN) }

  /// A closed pipe becomes an error of the write, not the end of the process.
  package static func ignoreClosedPipes() { signal(SIGPIPE, SIG_IGN) }
}
