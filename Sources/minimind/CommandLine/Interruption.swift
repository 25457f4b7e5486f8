import Foundation
import Synchronization

/// Turns Ctrl-C, `kill` and the end of a terminal into a flag that long loops look at, so that they can save before they
/// stop.
package enum Interruption {
  private static let flag = Atomic<Bool>(false)

  /// Whether the user has asked to stop.
  package static var isRequested: Bool { flag.load(ordering: .relaxed) }

  /// - Throws: `Interrupted` when the user has asked to stop.
  package static func check() throws {
    if isRequested { throw Interrupted() }
  }

  /// SIGHUP says that the terminal was closed. SIGUSR1 is what schedulers of clusters warn with, and what `mpirun` passes
  /// on.
  private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGUSR1]

  /// From now on the first of these signals sets the flag, and the second ends the process at once; except that SIGHUP,
  /// which both the shell and the system may send for one closed terminal, never ends the process, and stays ignored
  /// under `nohup`.
  ///
  /// Only commands that look at the flag call this; for the others Ctrl-C keeps its usual meaning.
  package static func watch() {
    // Touches the flag, so that the handler never runs its first-use initialisation.
    flag.store(false, ordering: .relaxed)
    for number in signals {
      let before = signal(number) { number in
        if Interruption.flag.exchange(true, ordering: .relaxed), number != SIGHUP { _exit(130) }
      }
      if number == SIGHUP, unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
        signal(number, SIG_IGN)
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

  /// A closed pipe, and a file beyond the limit of `ulimit -f`, become errors of the write, not the end of the process.
  package static func letWritesFail() {
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
  }
}
