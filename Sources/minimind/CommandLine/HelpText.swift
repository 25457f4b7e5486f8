/// The help page for a path: a command, a group of commands, or (empty path) the whole program.
///
/// - Throws: `UsageError` when nothing has that path.
package func helpText(for path: [String], commands: [Command]) throws -> String {
  if let command = commands.first(where: { $0.path == path }) { return commandHelp(command) }
  let members = commands.filter { $0.path.starts(with: path) }
  guard !members.isEmpty else {
    _ = try parseArguments(path, commands: commands)
    return ""
  }
  let program = (["minimind"] + path).joined(separator: " ")
  let title = path.isEmpty ? "minimind: from a folder of text to a chat model of your own" : program
  let rows = members.map { ("  " + $0.path.joined(separator: " "), $0.summary) }
  return """
    \(title)

    Usage: \(program) COMMAND [options]

    Commands:
    \(columns(rows))

    '\(program) COMMAND --help' explains one command.

    """
}

private func commandHelp(_ command: Command) -> String {
  var usage = command.name
  for option in command.options where option.isRequired || option.style.isPositional {
    let value = option.placeholder + (option.style.takesSeveral ? "…" : "")
    let written = option.style.isPositional ? value : "--\(option.name) \(value)"
    usage += option.isRequired ? " \(written)" : " [\(written)]"
  }
  if command.options.contains(where: { !$0.isRequired && !$0.style.isPositional }) { usage += " [options]" }

  let rows =
    command.options.map { option -> (String, String) in
      let value = option.placeholder + (option.style.takesSeveral ? "…" : "")
      let left = option.style.isPositional ? value : "--\(option.name)" + (value.isEmpty ? "" : " \(value)")
      let note = option.isRequired ? " Required." : option.defaultText.map { " (default: \($0))" } ?? ""
      return ("  " + left, option.help + note)
    } + [("  --help", "Shows this page.")]
  return """
    \(command.name): \(command.summary)

    Usage: \(usage)

    Options:
    \(columns(rows))

    Example:
      \(command.example)

    """
}

/// Two columns, the right one wrapped so that lines have at most 100 characters.
private func columns(_ rows: [(left: String, right: String)]) -> String {
  let width = min(34, rows.map { displayWidth($0.left) }.max() ?? 0) + 2
  return rows.map { row in
    let lines = wrapped(row.right, to: max(30, 100 - width))
    let isWide = displayWidth(row.left) + 2 > width
    let head = isWide ? [row.left] : [row.left.padded(to: width) + lines[0]]
    return (head + (isWide ? lines[...] : lines.dropFirst()).map { String(repeating: " ", count: width) + $0 })
      .joined(separator: "\n")
  }.joined(separator: "\n")
}
