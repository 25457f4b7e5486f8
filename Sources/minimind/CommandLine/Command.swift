/// One command of the program, as data: how it is called, what it accepts, and what it runs.
package struct Command: Sendable {
  /// The words that call it: `["data", "pretrain"]`.
  package let path: [String]
  /// One line, a verb first: "prepares token shards".
  package let summary: String
  package let options: [any OptionDescription]
  /// A complete line that a reader can copy.
  package let example: String
  package let run: @Sendable (Invocation) throws -> Void

  package init(
    _ path: String..., summary: String, options: [any OptionDescription], example: String,
    run: @escaping @Sendable (Invocation) throws -> Void
  ) {
    self.path = path
    self.summary = summary
    self.options = options
    self.example = example
    self.run = run
  }

  package var name: String { "minimind " + path.joined(separator: " ") }

  /// Whether the processes that `mpirun` has started do the work together.
  package var takesProcesses: Bool { options.contains { $0.name == Option<Int>.exchangeTimeout.name } }
}

/// A command together with what was written after it, read and checked.
package struct Invocation: Sendable {
  package let command: Command
  /// By the name of the option: those of the command, absent ones included.
  private let values: [String: any Sendable]
  /// As they were written, by the name of the option; a flag that is present holds one empty text.
  package let texts: [String: [String]]

  /// - Throws: `UsageError` for texts that are no value of their option, and for a required option that is absent.
  init(command: Command, texts: [String: [String]]) throws {
    self.command = command
    self.texts = texts
    var values: [String: any Sendable] = [:]
    for option in command.options {
      guard texts[option.name] != nil || !option.isRequired else {
        let written = option.style.isPositional ? option.placeholder : "--\(option.name) \(option.placeholder)"
        throw UsageError("\(command.name) needs \(written); \(lowercasingFirst(option.help))")
      }
      values[option.name] = try option.value(of: texts[option.name] ?? [])
    }
    self.values = values
  }

  /// The value of an option that the command lists.
  package subscript<Value>(option: Option<Value>) -> Value {
    guard let parsed = values[option.name] as? Option<Value>.Parsed else {
      preconditionFailure("\(command.name) lists no option --\(option.name) of this type")
    }
    return parsed.value
  }

  /// Whether the option is given on the command line (and does not merely have its default).
  package func isGiven(_ option: any OptionDescription) -> Bool { texts[option.name] != nil }
}

private func lowercasingFirst(_ sentence: String) -> String {
  sentence.prefix(1).lowercased() + sentence.dropFirst()
}

/// The caller wrote something that this program does not understand: exit code 2.
package struct UsageError: Error, Equatable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// The work could not be done, for a reason that the user can act on: exit code 1.
package struct CommandError: Error, Equatable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// The user stopped the work; what is worth keeping has been kept: exit code 130.
package struct Interrupted: Error, Equatable, CustomStringConvertible {
  package let description: String
  package init(_ description: String = "interrupted.") { self.description = description }
}

/// Standard output was closed by its reader (`minimind … | head`): nothing is wrong, nothing more to say.
package struct OutputClosed: Error, Equatable {
  package init() {}
}
