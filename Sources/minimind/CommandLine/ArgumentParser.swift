import Storage

/// What a list of arguments asks for.
package enum Request {
  case run(Invocation)
  /// Help for the whole program (empty path), a group, or a command.
  case help([String])
  case version
}

/// Reads the arguments after the program's name.
///
/// - Throws: `UsageError` that names the option, the fault and the nearest right word.
package func parseArguments(_ arguments: [String], commands: [Command]) throws -> Request {
  let isHelp = { (text: String) in text == "--help" || text == "-h" }
  if arguments.first == "--version" { return .version }
  guard let first = arguments.first, !isHelp(first), first != "help" else {
    let path = Array(arguments.dropFirst().prefix { !$0.hasPrefix("-") })
    return .help(arguments.first == "help" ? path : [])
  }

  var path: [String] = []
  for word in arguments {
    if let command = commands.first(where: { $0.path == path }) {
      let rest = Array(arguments.dropFirst(path.count))
      return rest.contains(where: isHelp) ? .help(path) : .run(try parseOptions(rest, of: command))
    }
    if isHelp(word) { return .help(path) }
    let choices = Set(
      commands.filter { $0.path.starts(with: path) && $0.path.count > path.count }.map { $0.path[path.count] })
    guard choices.contains(word) else { throw unknownCommand(word, after: path, choices: choices.sorted()) }
    path.append(word)
  }
  if let command = commands.first(where: { $0.path == path }) { return .run(try parseOptions([], of: command)) }
  let names = commands.filter { $0.path.starts(with: path) }.map { $0.path.last ?? "" }
  throw UsageError("minimind \(path.joined(separator: " ")) needs one more word: \(names.joined(separator: ", ")).")
}

private func unknownCommand(_ word: String, after path: [String], choices: [String]) -> UsageError {
  let name = (path + [word]).joined(separator: " ")
  if let nearest = nearestName(to: word, among: choices) {
    return UsageError("there is no command \"\(name)\"; did you mean \"\((path + [nearest]).joined(separator: " "))\"?")
  }
  return UsageError("there is no command \"\(name)\"; choose one of \(choices.joined(separator: ", ")).")
}

private func parseOptions(_ arguments: [String], of command: Command) throws -> Invocation {
  var reader = OptionReader(command: command, rest: arguments[...])
  while let argument = reader.rest.popFirst() { try reader.read(argument) }
  return try Invocation(command: command, texts: reader.texts)
}

/// Sorts the words after a command by the option that each belongs to.
private struct OptionReader {
  let command: Command
  /// Words that are still to be read.
  var rest: ArraySlice<String>
  /// What was read, by the name of the option; a flag that is present holds one empty text.
  var texts: [String: [String]] = [:]
  private var positionalCount = 0

  init(command: Command, rest: ArraySlice<String>) {
    self.command = command
    self.rest = rest
  }

  mutating func read(_ argument: String) throws {
    if argument == "--" {
      while let word = rest.popFirst() { try addPositional(word) }
    } else if argument.hasPrefix("--") {
      try readOption(argument.dropFirst(2))
    } else if argument.hasPrefix("-"), argument.count > 1, Double(argument) == nil {
      throw UsageError("\(argument) is not an option; options are long, as in --help.")
    } else {
      try addPositional(argument)
    }
  }

  /// - Parameter word: without dashes: "name" or "name=value".
  private mutating func readOption(_ word: Substring) throws {
    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let attached = parts.dropFirst().first
    guard let option = command.options.first(where: { $0.name == parts[0] && !$0.style.isPositional }) else {
      throw unknownOption(parts[0], of: command)
    }
    guard option.style == .repeatable || texts[option.name] == nil else {
      throw UsageError("--\(option.name) is given twice; give it once.")
    }
    if option.style == .flag {
      guard attached == nil else {
        throw UsageError("--\(option.name) takes no value; write only --\(option.name).")
      }
      texts[option.name] = [""]
      return
    }
    let values = attached.map { [$0] } ?? takeValues(atMost: option.style == .repeatable ? .max : 1)
    guard !values.isEmpty else {
      throw UsageError("--\(option.name) needs a value: --\(option.name) \(option.placeholder).")
    }
    texts[option.name, default: []] += values
  }

  /// The words up to the next option. A negative number is a value, and so is a lone dash.
  private mutating func takeValues(atMost count: Int) -> [String] {
    let values = rest.prefix { !$0.hasPrefix("--") }.prefix(count)
    rest = rest.dropFirst(values.count)
    return Array(values)
  }

  private mutating func addPositional(_ word: String) throws {
    let options = command.options.filter(\.style.isPositional)
    guard positionalCount < options.count || options.last?.style == .positionals else {
      throw UsageError("\(command.name) does not take \"\(word)\"; values follow an option's name.")
    }
    texts[options[min(positionalCount, options.count - 1)].name, default: []].append(word)
    positionalCount += 1
  }
}

private func unknownOption(_ name: String, of command: Command) -> UsageError {
  let names = command.options.filter { !$0.style.isPositional }.map(\.name) + ["help"]
  if let nearest = nearestName(to: name, among: names) {
    return UsageError("\(command.name) has no option --\(name); did you mean --\(nearest)?")
  }
  return UsageError("\(command.name) has no option --\(name); its --help lists those it has.")
}
