import Foundation
import Synchronization

/// A stream that a command writes to: standard output, or standard error.
package final class Console: Sendable {
  private let descriptor: Int32
  /// Lines may be redrawn: the stream is a terminal.
  package let isTerminal: Bool
  /// Colour is welcome: a terminal, and neither `NO_COLOR` nor a dumb `TERM` says otherwise.
  package let usesColor: Bool
  private let lock = Mutex<Void>(())

  package init(descriptor: Int32, isTerminal: Bool? = nil, environment: [String: String]? = nil) {
    let environment = environment ?? ProcessInfo.processInfo.environment
    self.descriptor = descriptor
    let isTerminal = isTerminal ?? (isatty(descriptor) == 1 && environment["TERM"] != "dumb")
    self.isTerminal = isTerminal
    usesColor = isTerminal && (environment["NO_COLOR"] ?? "").isEmpty
  }

  package static let standardOutput = Console(descriptor: STDOUT_FILENO)
  package static let standardError = Console(descriptor: STDERR_FILENO)

  /// Columns of the terminal; 80 when it does not say.
  package var width: Int {
    var size = winsize()
    guard isTerminal, ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Writes `text` as it is, at once.
  ///
  /// - Throws: `OutputClosed` when the reader has gone; `CommandError` when the stream cannot be written.
  package func write(_ text: String) throws {
    let bytes = Array(text.utf8)
    try lock.withLock { _ in
      var position = 0
      while position < bytes.count {
        let count = bytes.withUnsafeBytes {
          Foundation.write(descriptor, $0.baseAddress! + position, bytes.count - position)
        }
        if count > 0 {
          position += count
        } else if errno == EPIPE {
          throw OutputClosed()
        } else if errno != EINTR && errno != EAGAIN {
          throw CommandError("cannot write the output: \(String(cString: strerror(errno))).")
        }
      }
    }
  }

  /// Writes a line.
  package func print(_ line: String = "") throws { try write(line + "\n") }

  /// `text` in bold where colour is welcome.
  package func bold(_ text: String) -> String { usesColor ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

  /// `text` dimmed where colour is welcome.
  package func dim(_ text: String) -> String { usesColor ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
}

/// Prints `value` as one JSON object on a line of standard output: what `--json` asks for.
package func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  encoder.nonConformingFloatEncodingStrategy = .convertToString(
    positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
  try Console.standardOutput.print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
