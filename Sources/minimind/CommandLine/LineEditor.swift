import CEditLine
import Foundation

/// Reads lines from the terminal, with editing and with a history that outlives the program.
final class LineEditor {
  enum Input {
    case line(String)
    /// Ctrl-C: the line was given up.
    case interrupted
    /// Ctrl-D on an empty line, or the terminal is gone.
    case end
  }

  /// Lines of the history, a file of some tens of kilobytes at most.
  private static let historySize: Int32 = 1000
  private let line: OpaquePointer

  /// - Parameter historyName: of the file in `stateDirectory`. Where it cannot be kept, the lines of this session are.
  /// - Throws: `CommandError` when there is no memory.
  init(prompt: String, console: Console, historyName: String) throws {
    // Bytes of value 1 stand around what takes no column.
    let text = console.usesColor ? "\u{1}\u{1B}[1m\u{1}\(prompt)\u{1}\u{1B}[0m\u{1}" : prompt
    guard let line = minimind_edit_line_open(text, (Self.stateDirectory() ?? "") + "/" + historyName, Self.historySize)
    else { throw CommandError("cannot edit lines: there is no memory left.") }
    self.line = line
  }

  deinit { minimind_edit_line_close(line) }

  func read() -> Input {
    var outcome = MINIMIND_LINE_END
    guard let text = minimind_edit_line_read(line, &outcome) else {
      return outcome == MINIMIND_LINE_INTERRUPTED ? .interrupted : .end
    }
    return .line(String(cString: text).trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Adds a line to the history, and keeps it on the disk.
  func remember(_ text: String) { minimind_edit_line_remember(line, text) }

  /// `$XDG_STATE_HOME/minimind`, made when it is missing and closed to other users; nil where there is no home.
  private static func stateDirectory() -> String? {
    let environment = ProcessInfo.processInfo.environment
    let base = environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
    guard let base = base ?? environment["HOME"].map({ $0 + "/.local/state" }) else { return nil }
    let path = base + "/minimind"
    try? FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    return path
  }
}
