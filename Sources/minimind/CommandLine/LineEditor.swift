import Foundation

/// Reads messages from the terminal, with editing and with a history that outlives the program.
///
/// What is deleted and moved over are whole characters, as people see them. A window of another width, text that is pasted in
/// several lines, and messages of several lines are understood.
final class LineEditor {
  enum Input {
    case line(String)
    /// Ctrl-C: the line was given up.
    case interrupted
    /// Ctrl-D on an empty line, or the terminal is gone.
    case end
  }

  /// Lines of the history, a file of some tens of kilobytes at most.
  private static let historySize = 1000
  /// An escape that nothing follows for this long was the key.
  private static let escapeMilliseconds: Int32 = 50

  private let prompt: String
  private let console: Console
  private let input = TerminalInput()
  private var history: LineHistory
  private var keys = TerminalKeyReader()
  private var screen: LineScreen
  private var buffer = LineBuffer()
  /// The place in the history; its end is the line that is being written, which waits in `draft` meanwhile.
  private var place = 0
  private var draft = ""
  /// While the history is searched: what for, and where it was found.
  private var search: (wanted: String, index: Int?)?

  /// - Parameter historyName: of the file in `stateDirectory`. Where it cannot be kept, the lines of this session are.
  init(prompt: String, console: Console, historyName: String) {
    self.prompt = prompt
    self.console = console
    history = LineHistory(path: Self.stateDirectory().map { $0 + "/" + historyName }, limit: Self.historySize)
    screen = LineScreen(width: console.width)
  }

  /// - Throws: `OutputClosed` or `CommandError` when the terminal cannot be written.
  func read() throws -> Input {
    buffer = LineBuffer()
    (draft, search, place) = ("", nil, history.lines.count)
    screen = LineScreen(width: console.width)
    input.begin()
    defer { input.end() }
    // The terminal marks what is pasted, so that the ends of its lines are no keys.
    try console.write("\u{1B}[?2004h")
    defer { try? console.write("\u{1B}[?2004l") }
    try show()
    while true {
      while let key = keys.next(isLast: false) {
        if let result = try obey(key) { return result }
      }
      switch input.wait(milliseconds: keys.isInsideKey ? Self.escapeMilliseconds : -1) {
      case .bytes(let bytes): keys.append(bytes)
      case .nothing:
        if let key = keys.next(isLast: true), let result = try obey(key) { return result }
      case .end: return .end
      case .signal(SIGWINCH):
        screen.resize(to: console.width)
        // Whether the terminal has wrapped the line again can be seen from where its cursor is now.
        try console.write("\u{1B}[6n")
      case .signal(SIGCONT):
        input.resume()
        screen.forget()
        try show()
      case .signal(let number):
        // The program ends by it, with the terminal as it was.
        try? console.write("\u{1B}[?2004l\n")
        input.end()
        signal(number, SIG_DFL)
        raise(number)
      }
    }
  }

  /// Adds a line to the history, and keeps it on the disk.
  func remember(_ text: String) { history.add(text) }

  // MARK: - Keys

  /// - Returns: What was read, if the key ends it.
  private func obey(_ key: TerminalKey) throws -> Input? {
    if search != nil, try searchObeys(key) { return nil }
    switch key {
    case .enter: return try enter()
    case .control("c"):
      try leave()
      return .interrupted
    case .control("d") where buffer.characters.isEmpty: return .end
    case .control("z"):
      try leave()
      input.suspend()
      screen.forget()
      try console.write("\u{1B}[?2004h")
    case .control("l"):
      screen.forget()
      try console.write("\u{1B}[H\u{1B}[2J")
    case .control("r"): search = ("", nil)
    case .position(_, let column): screen.found(column: column)
    case .text(let text):
      let isAtEnd = buffer.cursor == buffer.characters.count
      buffer.insert(text)
      // At the end of a line the terminal needs nothing but the text.
      if isAtEnd, screen.extend(with: text, to: buffer.text) { return try nothing(console.write(text)) }
    case .up, .control("p"): if !buffer.moveLine(up: true) { recall(place - 1) }
    case .down, .control("n"): if !buffer.moveLine(up: false) { recall(place + 1) }
    default: edit(key)
    }
    try show()
    return nil
  }

  private func nothing(_: Void) -> Input? { nil }

  private func edit(_ key: TerminalKey) {
    switch key {
    case .paste(let text): buffer.insert(text)
    case .newline: buffer.insert("\n")
    case .backspace: buffer.deleteBackward()
    case .delete, .control("d"): buffer.deleteForward()
    case .left, .control("b"): buffer.moveLeft()
    case .right, .control("f"): buffer.moveRight()
    case .home, .control("a"): buffer.moveToLineStart()
    case .end, .control("e"): buffer.moveToLineEnd()
    case .wordLeft, .alt("b"): buffer.moveWordLeft()
    case .wordRight, .alt("f"): buffer.moveWordRight()
    case .alt("d"): buffer.cutWordRight()
    case .control("w"): buffer.cutToBlank()
    case .control("k"): buffer.cutToLineEnd()
    case .control("u"): buffer.cutToLineStart()
    case .control("y"): buffer.paste()
    default: break
    }
  }

  /// A backslash at the end begins another line.
  private func enter() throws -> Input? {
    if buffer.isBehindBackslash {
      buffer.deleteBackward()
      buffer.insert("\n")
      try show()
      return nil
    }
    try leave()
    try console.print()
    return .line(buffer.text.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Puts the terminal's cursor after the text.
  private func leave() throws {
    guard buffer.cursor < buffer.characters.count else { return }
    try console.write(screen.draw(prompt: prompt, style: console.bold, before: buffer.text, after: ""))
  }

  private func show() throws {
    let style = search == nil ? console.bold : console.dim
    try console.write(
      screen.draw(
        prompt: search.map { "(search) \($0.wanted): " } ?? prompt, style: style,
        before: String(buffer.characters[..<buffer.cursor]),
        after: String(buffer.characters[buffer.cursor...])))
  }

  // MARK: - History

  private func recall(_ index: Int) {
    guard index >= 0, index <= history.lines.count, index != place else { return }
    if place == history.lines.count { draft = buffer.text }
    place = index
    buffer.replace(with: index < history.lines.count ? history.lines[index] : draft)
  }

  /// While the history is searched, text and Ctrl-R go on searching; any other key takes what was found.
  ///
  /// - Returns: Whether that is all.
  private func searchObeys(_ key: TerminalKey) throws -> Bool {
    guard var (wanted, index) = search else { return false }
    let last = history.lines.count
    switch key {
    case .text(let text):
      wanted += text
      index = history.lines[..<min(last, (index ?? last) + 1)].lastIndex { $0.contains(wanted) }
    case .backspace:
      wanted = String(wanted.dropLast())
      index = wanted.isEmpty ? nil : history.lines.lastIndex { $0.contains(wanted) }
    case .control("r"):
      index = wanted.isEmpty ? nil : history.lines[..<(index ?? last)].lastIndex { $0.contains(wanted) } ?? index
    case .position(_, let column): screen.found(column: column)
    case .escape, .control("g"):
      search = nil
      try show()
      return true
    default:
      search = nil
      try show()
      return false
    }
    search = (wanted, index)
    if let index {
      place = index
      buffer.replace(with: history.lines[index])
    }
    try show()
    return true
  }

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
