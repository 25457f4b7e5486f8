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
  var texts: [String: [String]] = [:]
  var positionals: [String] = []
  var position = 0
  while position < arguments.count {
    let argument = arguments[position]
    position += 1
    guard argument.hasPrefix("--"), argument != "--" else {
      if argument == "--" {
        positionals += arguments[position...]
        break
      }
      if argument.hasPrefix("-"), argument.count > 1, Double(argument) == nil {
        throw UsageError("\(argument) is no option; options are long, as in --help.")
      }
      positionals.append(argument)
      continue
    }

    let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0])
    let attached = parts.count == 2 ? String(parts[1]) : nil
    guard let option = command.options.first(where: { $0.name == name && !$0.style.isPositional }) else {
      throw unknownOption(name, of: command)
    }

    switch option.style {
    case .flag:
      guard attached == nil else { throw UsageError("--\(name) takes no value; write only --\(name).") }
      guard texts[name] == nil else { throw givenTwice(name) }
      texts[name] = [""]
    case .single:
      guard texts[name] == nil else { throw givenTwice(name) }
      if let attached {
        texts[name] = [attached]
      } else {
        guard position < arguments.count, !isOption(arguments[position]) else { throw missingValue(option) }
        texts[name] = [arguments[position]]
        position += 1
      }
    case .repeatable:
      var values = attached.map { [$0] } ?? []
      if attached == nil {
        while position < arguments.count, !isOption(arguments[position]) {
          values.append(arguments[position])
          position += 1
        }
      }
      guard !values.isEmpty else { throw missingValue(option) }
      texts[name, default: []] += values
    case .positional, .positionals: break
    }
  }

  let places = command.options.filter(\.style.isPositional)
  let takesAll = places.last?.style == .positionals
  guard positionals.count <= places.count || takesAll else {
    throw UsageError("\(command.name) does not take \"\(positionals[places.count])\"; values follow an option's name.")
  }
  for (index, value) in positionals.enumerated() {
    texts[places[min(index, places.count - 1)].name, default: []].append(value)
  }

  for option in command.options {
    if let given = texts[option.name] {
      try option.check(given)
    } else if option.isRequired {
      let written = option.style.isPositional ? option.placeholder : "--\(option.name) \(option.placeholder)"
      throw UsageError("\(command.name) needs \(written); \(lowercasingFirst(option.help))")
    }
  }
  return Invocation(command: command, texts: texts)
}

/// Whether an argument starts an option. A negative number is a value, and so is a lone dash.
private func isOption(_ argument: String) -> Bool { argument.hasPrefix("--") }

private func givenTwice(_ name: String) -> UsageError {
  UsageError("--\(name) is given twice; give it once.")
}

private func missingValue(_ option: any OptionDescription) -> UsageError {
  UsageError("--\(option.name) needs a value: --\(option.name) \(option.placeholder).")
}

private func unknownOption(_ name: String, of command: Command) -> UsageError {
  let names = command.options.filter { !$0.style.isPositional }.map(\.name) + ["help"]
  if let nearest = nearestName(to: name, among: names) {
    return UsageError("\(command.name) has no option --\(name); did you mean --\(nearest)?")
  }
  return UsageError("\(command.name) has no option --\(name); its --help lists those it has.")
}

private func lowercasingFirst(_ sentence: String) -> String {
  sentence.prefix(1).lowercased() + sentence.dropFirst()
}
