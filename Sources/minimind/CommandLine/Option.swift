/// What the parser and the help page need to know of an option, whatever its type.
package protocol OptionDescription: Sendable {
  /// Without dashes: "vocab-size". For a positional argument, its placeholder.
  var name: String { get }
  var style: OptionStyle { get }
  /// What stands for the value in the help page: "N", "FILE". Empty for a flag.
  var placeholder: String { get }
  var help: String { get }
  /// The default in words, shown in the help page; nil when there is none.
  var defaultText: String? { get }
  var isRequired: Bool { get }
  /// - Throws: `UsageError` when `texts` is no value of this option.
  func check(_ texts: [String]) throws
}

package enum OptionStyle: Sendable {
  /// `--name`, no value.
  case flag
  /// `--name VALUE`, at most once.
  case single
  /// `--name VALUE…`, one or more values, also repeated.
  case repeatable
  /// A bare argument, told by its place.
  case positional
  /// All bare arguments from its place on.
  case positionals

  var isPositional: Bool { self == .positional || self == .positionals }
  var takesSeveral: Bool { self == .repeatable || self == .positionals }
}

/// One option of a command, with the type that its text is read as.
///
/// Make one with the functions below, list it in the command's `options`, and read it from the
/// invocation by subscript: `let threads = invocation[.threads]`.
package struct Option<Value: Sendable>: OptionDescription {
  package let name: String
  package let style: OptionStyle
  package let placeholder: String
  package let help: String
  package let defaultText: String?
  package let isRequired: Bool
  /// The value for the texts given on the command line; an empty list means that the option was absent.
  let parse: @Sendable ([String]) throws -> Value

  package func check(_ texts: [String]) throws { _ = try parse(texts) }
}

extension Option where Value == Bool {
  /// `--name`: off unless given.
  package static func flag(_ name: String, help: String) -> Self {
    Option(name: name, style: .flag, placeholder: "", help: help, defaultText: nil, isRequired: false) { !$0.isEmpty }
  }
}

extension Option where Value == String {
  /// `--name TEXT`, which must be given.
  package static func required(_ name: String, _ placeholder: String, help: String) -> Self {
    Option(name: name, style: .single, placeholder: placeholder, help: help, defaultText: nil, isRequired: true) {
      $0[0]
    }
  }

  package static func text(_ name: String, _ placeholder: String, default defaultValue: String, help: String) -> Self {
    Option(
      name: name, style: .single, placeholder: placeholder, help: help, defaultText: defaultValue, isRequired: false
    ) { $0.first ?? defaultValue }
  }

  /// A bare argument, which must be given.
  package static func positional(_ placeholder: String, help: String) -> Self {
    Option(
      name: placeholder, style: .positional, placeholder: placeholder, help: help, defaultText: nil, isRequired: true
    ) { $0[0] }
  }
}

extension Option where Value == String? {
  /// `--name TEXT`, or nil.
  package static func optional(_ name: String, _ placeholder: String, help: String) -> Self {
    Option(name: name, style: .single, placeholder: placeholder, help: help, defaultText: nil, isRequired: false) {
      $0.first
    }
  }

  /// A bare argument that may be left out.
  package static func optionalPositional(_ placeholder: String, help: String) -> Self {
    Option(
      name: placeholder, style: .positional, placeholder: placeholder, help: help, defaultText: nil, isRequired: false
    ) { $0.first }
  }
}

extension Option where Value == [String] {
  /// Bare arguments, at least one of them.
  package static func positionals(_ placeholder: String, help: String) -> Self {
    Option(
      name: placeholder, style: .positionals, placeholder: placeholder, help: help, defaultText: nil, isRequired: true
    ) { $0 }
  }

  /// `--name VALUE…`: one or more values after the name, which may also be repeated.
  package static func list(_ name: String, _ placeholder: String, isRequired: Bool = false, help: String) -> Self {
    Option(
      name: name, style: .repeatable, placeholder: placeholder, help: help, defaultText: nil, isRequired: isRequired
    ) { $0 }
  }
}

extension Option where Value == Int {
  package static func integer(
    _ name: String, _ placeholder: String = "N", default defaultValue: Int, in range: ClosedRange<Int> = 0...Int.max,
    defaultText: String? = nil, help: String
  ) -> Self {
    Option(
      name: name, style: .single, placeholder: placeholder, help: help,
      defaultText: defaultText ?? String(defaultValue),
      isRequired: false
    ) { try $0.first.map { try parseInteger($0, name, range) } ?? defaultValue }
  }
}

extension Option where Value == Int? {
  /// An integer, or nil when absent; `defaultText` says what happens then.
  package static func optionalInteger(
    _ name: String, _ placeholder: String = "N", in range: ClosedRange<Int> = 0...Int.max, defaultText: String? = nil,
    help: String
  ) -> Self {
    Option(
      name: name, style: .single, placeholder: placeholder, help: help, defaultText: defaultText, isRequired: false
    ) { try $0.first.map { try parseInteger($0, name, range) } }
  }
}

extension Option where Value == Double {
  package static func number(
    _ name: String, _ placeholder: String = "X", default defaultValue: Double, in range: ClosedRange<Double>,
    help: String
  ) -> Self {
    Option(
      name: name, style: .single, placeholder: placeholder, help: help, defaultText: formatNumber(defaultValue),
      isRequired: false
    ) { try $0.first.map { try parseNumber($0, name, range) } ?? defaultValue }
  }
}

extension Option where Value == Double? {
  package static func optionalNumber(
    _ name: String, _ placeholder: String = "X", in range: ClosedRange<Double>, defaultText: String? = nil, help: String
  ) -> Self {
    Option(
      name: name, style: .single, placeholder: placeholder, help: help, defaultText: defaultText, isRequired: false
    ) { try $0.first.map { try parseNumber($0, name, range) } }
  }
}

extension Option where Value: CaseIterable & RawRepresentable, Value.RawValue == String {
  /// `--name a|b|c`: one of the raw values of an enumeration.
  package static func choice(_ name: String, default defaultValue: Value, help: String) -> Self {
    Option(
      name: name, style: .single, placeholder: choiceNames(Value.self).joined(separator: "|"), help: help,
      defaultText: defaultValue.rawValue, isRequired: false
    ) { try $0.first.map { try parseChoice($0, name) } ?? defaultValue }
  }
}

extension Option {
  /// `--name a|b|c`, or nil when absent; `defaultText` says what happens then.
  package static func optionalChoice<Choice: CaseIterable & RawRepresentable & Sendable>(
    _ name: String, defaultText: String? = nil, help: String
  ) -> Self where Value == Choice?, Choice.RawValue == String {
    Option(
      name: name, style: .single, placeholder: choiceNames(Choice.self).joined(separator: "|"), help: help,
      defaultText: defaultText, isRequired: false
    ) { try $0.first.map { try parseChoice($0, name) } }
  }
}

extension Option {
  /// `--name a|b|c`: one of some values, or nil when absent; `defaultText` says what happens then.
  package static func optionalChoice<Choice: Sendable>(
    _ name: String, among choices: [Choice], called: @escaping @Sendable (Choice) -> String, defaultText: String,
    help: String
  ) -> Self where Value == Choice? {
    Option(
      name: name, style: .single, placeholder: choices.map(called).joined(separator: "|"), help: help,
      defaultText: defaultText, isRequired: false
    ) { texts in
      try texts.first.map { text in
        guard let choice = choices.first(where: { called($0) == text }) else {
          throw UsageError("--\(name) is \"\(text)\"; it must be \(choices.map(called).joined(separator: ", ")).")
        }
        return choice
      }
    }
  }
}

extension Option {
  /// `--name a b c`: some of the raw values of an enumeration, or nil when absent; `defaultText` says what happens then.
  package static func choices<Choice: CaseIterable & RawRepresentable & Sendable>(
    _ name: String, of: Choice.Type, defaultText: String, help: String
  ) -> Self where Choice.RawValue == String, Value == [Choice]? {
    let names = Choice.allCases.map(\.rawValue)
    return Option(
      name: name, style: .repeatable, placeholder: names.joined(separator: "|"), help: help, defaultText: defaultText,
      isRequired: false
    ) { texts in
      guard !texts.isEmpty else { return nil }
      return try texts.map { text in
        guard let value = Choice(rawValue: text) else {
          throw UsageError("--\(name) has \"\(text)\"; it can have \(names.joined(separator: ", ")).")
        }
        return value
      }
    }
  }
}

/// Options that mean the same in every command.
extension Option where Value == Int? {
  package static var threads: Self {
    .optionalInteger("threads", in: 1...1024, defaultText: "all cores", help: "Threads to compute with.")
  }
}

extension Option where Value == Int {
  package static var seed: Self {
    .integer("seed", default: 42, help: "Starts every random choice; the same seed repeats the run.")
  }
}

extension Option where Value == Bool {
  package static var json: Self {
    .flag("json", help: "Prints one JSON object on standard output, and nothing else there.")
  }
}

private func parseInteger(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws -> Int {
  guard let value = Int(text) else { throw UsageError("--\(name) is \"\(text)\"; it must be a whole number.") }
  guard range.contains(value) else {
    let bounds =
      range.upperBound == Int.max
      ? "at least \(range.lowerBound)" : "between \(range.lowerBound) and \(range.upperBound)"
    throw UsageError("--\(name) is \(value); it must be \(bounds).")
  }
  return value
}

private func parseNumber(_ text: String, _ name: String, _ range: ClosedRange<Double>) throws -> Double {
  guard let value = Double(text), !value.isNaN else {
    throw UsageError("--\(name) is \"\(text)\"; it must be a number.")
  }
  guard range.contains(value) else {
    let bounds =
      range.upperBound == .infinity
      ? "at least \(formatNumber(range.lowerBound))"
      : "between \(formatNumber(range.lowerBound)) and \(formatNumber(range.upperBound))"
    throw UsageError("--\(name) is \(text); it must be \(bounds).")
  }
  return value
}

private func choiceNames<Choice: CaseIterable & RawRepresentable>(_: Choice.Type) -> [String]
where Choice.RawValue == String {
  Choice.allCases.map(\.rawValue)
}

private func parseChoice<Choice: CaseIterable & RawRepresentable>(_ text: String, _ name: String) throws -> Choice
where Choice.RawValue == String {
  if let value = Choice(rawValue: text) { return value }
  throw UsageError("--\(name) is \"\(text)\"; it must be \(choiceNames(Choice.self).joined(separator: ", ")).")
}
