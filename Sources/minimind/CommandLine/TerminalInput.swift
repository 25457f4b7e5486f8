import Foundation
import Synchronization

/// Standard input as a terminal whose keys come one by one, between `begin` and `end`.
final class TerminalInput {
  enum Event {
    case bytes([UInt8])
    case signal(Int32)
    /// Nothing came in time.
    case nothing
    /// The terminal is gone.
    case end
  }

  private static let signals = [SIGWINCH, SIGCONT, SIGTERM, SIGHUP, SIGQUIT]
  /// The end of a pipe into which the handler of signals writes their numbers, so that waiting for a key notices them.
  private static let signalWriter = Atomic<Int32>(-1)
  private let signalReader: Int32
  private var modeBefore = termios()
  private var handlersBefore: [sigaction] = []

  init() {
    var ends: [Int32] = [-1, -1]
    // Without a pipe the signals are not noticed; keys are.
    if Self.signalWriter.load(ordering: .relaxed) < 0, pipe(&ends) == 0 {
      for end in ends {
        _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        _ = fcntl(end, F_SETFL, O_NONBLOCK)
      }
      Self.signalWriter.store(ends[1], ordering: .relaxed)
    }
    signalReader = ends[0]
  }

  /// From now on keys are not echoed, and Ctrl-C and Ctrl-Z are keys.
  func begin() {
    tcgetattr(STDIN_FILENO, &modeBefore)
    takeKeys()
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { number in
      var byte = UInt8(truncatingIfNeeded: number)
      _ = Foundation.write(TerminalInput.signalWriter.load(ordering: .relaxed), &byte, 1)
    }
    handlersBefore = Self.signals.map { number in
      var before = sigaction()
      sigaction(number, nil, &before)
      // What is ignored, as under `nohup`, stays so.
      let isIgnored =
        unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
      if !isIgnored { sigaction(number, &action, nil) }
      return before
    }
  }

  private func takeKeys() {
    var mode = modeBefore
    mode.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
    mode.c_iflag &= ~tcflag_t(ICRNL | INLCR | IXON)
    tcsetattr(STDIN_FILENO, TCSADRAIN, &mode)
  }

  func end() {
    tcsetattr(STDIN_FILENO, TCSADRAIN, &modeBefore)
    for (number, before) in zip(Self.signals, handlersBefore) {
      var before = before
      sigaction(number, &before, nil)
    }
  }

  /// Stops the program, as Ctrl-Z does, until the shell goes on with it.
  func suspend() {
    tcsetattr(STDIN_FILENO, TCSADRAIN, &modeBefore)
    kill(0, SIGTSTP)
    // The stop may come a moment later; where nothing can continue the program, the system does not stop it.
    switch wait(milliseconds: 100) {
    case .nothing, .signal(SIGCONT): break
    case let event: waiting = event
    }
    takeKeys()
  }

  /// What another program did with the terminal meanwhile is undone.
  func resume() { takeKeys() }

  /// What has come and has not been told yet.
  private var waiting: Event?

  /// - Parameter milliseconds: how long to wait; -1 for as long as it takes.
  func wait(milliseconds: Int32) -> Event {
    if let event = waiting {
      waiting = nil
      return event
    }
    var sources = [
      pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
      pollfd(fd: signalReader, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      let count = poll(&sources, nfds_t(sources.count), milliseconds)
      if count == 0 { return .nothing }
      if count < 0 {
        if errno == EINTR { continue }
        return .end
      }
      var number: UInt8 = 0
      if sources[1].revents != 0, Foundation.read(signalReader, &number, 1) == 1 { return .signal(Int32(number)) }
      guard sources[0].revents != 0 else { continue }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let length = Foundation.read(STDIN_FILENO, &bytes, bytes.count)
      if length < 0, errno == EINTR || errno == EAGAIN { continue }
      return length > 0 ? .bytes(Array(bytes[..<length])) : .end
    }
  }
}
