import Foundation
import Machine
import Storage
import Synchronization

/// What a progress display counts.
package enum ProgressUnit: Sendable, Equatable {
  case bytes
  /// Things with a plural name: `.things("documents")`.
  case things(String)

  func amount(_ count: Int) -> String { self == .bytes ? formatBytes(count) : formatCount(count) }
  var name: String { if case .things(let name) = self { " " + name } else { "" } }
}

/// Shows how far a long task is: one redrawn line on a terminal, now and then a plain line elsewhere.
///
/// May be updated from any thread, as often as convenient: most updates cost only a reading of the clock.
package final class ProgressLine: Sendable {
  private let title: String
  private let total: Int?
  private let unit: ProgressUnit
  private let console: Console
  private let start: Double
  private struct State {
    var lastDrawn: Double
    var isOnScreen = false
  }
  private let state: Mutex<State>

  /// - Parameters:
  ///   - title: a verb in progress: "reading".
  ///   - total: how many there will be; nil when that is unknown.
  package init(_ title: String, total: Int?, unit: ProgressUnit, console: Console) {
    self.title = title
    self.total = total
    self.unit = unit
    self.console = console
    start = monotonicSeconds()
    state = Mutex(State(lastDrawn: start))
  }

  /// Shows `completed`, unless the last drawing is too fresh (0.1 s on a terminal, 10 s elsewhere).
  package func update(completed: Int, detail: String = "") {
    update { seconds in
      func text(barWidth: Int) -> String {
        progressText(
          title: title, completed: completed, total: total, unit: unit, seconds: seconds, detail: detail,
          barWidth: barWidth)
      }
      let line = text(barWidth: 0)
      // The bar takes what the amounts leave: the time left matters more.
      let room = console.width - 5 - displayWidth(line)
      return console.isTerminal && room >= 8 ? text(barWidth: min(24, room)) : line
    }
  }

  /// Shows a line of the caller's own, as often as `update(completed:)` does.
  ///
  /// - Parameter text: gets the seconds since the start; called only when the line is drawn.
  package func update(_ text: (_ seconds: Double) -> String) {
    let now = monotonicSeconds()
    state.withLock { state in
      guard now - state.lastDrawn >= (console.isTerminal ? 0.1 : 10) else { return }
      state.lastDrawn = now
      let line = text(now - start)
      if console.isTerminal {
        // The last column stays free: some terminals wrap when it is filled.
        try? console.write("\r\u{1B}[K" + truncated(line, to: console.width - 1))
        state.isOnScreen = true
      } else {
        try? console.print(line)
      }
    }
  }

  /// Prints a line above the progress line.
  package func note(_ line: String) {
    state.withLock { state in
      try? console.print((state.isOnScreen ? "\r\u{1B}[K" : "") + line)
      state.isOnScreen = false
    }
  }

  /// Removes the progress line; `summary`, if any, stays in its place.
  package func finish(_ summary: String? = nil) {
    state.withLock { state in
      if state.isOnScreen { try? console.write("\r\u{1B}[K") }
      state.isOnScreen = false
      if let summary { try? console.print(summary) }
    }
  }
}

/// The text of a progress line: title, bar, share, amounts, rate, and the time left at the mean rate.
package func progressText(
  title: String, completed: Int, total: Int?, unit: ProgressUnit, seconds: Double, detail: String, barWidth: Int
) -> String {
  var parts = [title]
  let rate = seconds > 0 ? Double(completed) / seconds : 0
  if let total, total > 0 {
    let share = min(1, Double(completed) / Double(total))
    if barWidth > 0 { parts.append(progressBar(share: share, width: barWidth)) }
    parts.append(String(format: "%3.0f%%", share * 100))
    parts.append("\(unit.amount(completed)) of \(unit.amount(total))\(unit.name)")
  } else {
    parts.append("\(unit.amount(completed))\(unit.name)")
  }
  if rate > 0 { parts.append("\(unit.amount(Int(rate)))/s") }
  if let total, rate > 0, completed < total { parts.append("\(formatDuration(Double(total - completed) / rate)) left") }
  if !detail.isEmpty { parts.append(detail) }
  return parts.joined(separator: "  ")
}

/// A bar of `width` columns, filled to `share` in steps of an eighth of a column.
package func progressBar(share: Double, width: Int) -> String {
  let eighths = Int((max(0, min(1, share)) * Double(width * 8)).rounded(.down))
  let partial = eighths % 8 == 0 ? "" : String(Array(" ▏▎▍▌▋▊▉")[eighths % 8])
  let filled = String(repeating: "█", count: eighths / 8) + partial
  return "│" + filled.padded(to: width) + "│"
}
