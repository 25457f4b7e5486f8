import Model
import Storage
import Training

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
  /// The value for the texts given on the command line, to be read by the option's own type.
  ///
  /// - Throws: `UsageError` when they mean none.
  func value(of texts: [String]) throws -> any Sendable
}

package enum OptionStyle: Sendable {
  /// `--name`, no value.
  case flag
  /// `--name VALUE`, at most once.
  case single
  /// `--name VALUE…`, one or more values, also repeated.
  case repeatable
  /// A bare argument, recognised by its position.
  case positional
  /// All bare arguments from its position on.
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

  package func value(of texts: [String]) throws -> any Sendable { Parsed(value: try parse(texts)) }

  /// A value in a box, since a nil in `Any` would lose its type without one.
  struct Parsed: Sendable { let value: Value }
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

extension Option where Value == JSON? {
  /// The option of a training run's setting; nil when absent.
  package init(_ setting: SettingDescription, of stage: Stage) {
    let style: OptionStyle =
      switch setting.kind {
      case .flag: .flag
      case .texts, .choices: .repeatable
      case .integer, .number, .text, .choice: .single
      }
    self.init(
      name: setting.name, style: style, placeholder: setting.placeholder, help: setting.help,
      defaultText: setting.defaultText(stage), isRequired: false
    ) { texts in
      if texts.isEmpty { return nil }
      do { return try setting.kind.value(of: texts) } catch { throw UsageError("--\(setting.name) \(error)") }
    }
  }
}

extension Option where Value: SettingValue {
  /// The option of a training run's setting, with the default of a stage.
  package init(_ setting: Setting<Value>, of stage: Stage) {
    let option = Option<JSON?>(setting.description, of: stage)
    self.init(
      name: option.name, style: option.style, placeholder: option.placeholder, help: option.help,
      defaultText: option.defaultText, isRequired: false
    ) { try option.parse($0).flatMap(Value.init(json:)) ?? setting.standard(of: stage) }
  }
}

extension Option {
  /// The option of a training run's setting that may be left out, with the default text of a stage.
  package init<Wrapped>(_ setting: OpenSetting<Wrapped>, of stage: Stage) where Value == Wrapped? {
    let option = Option<JSON?>(setting.description, of: stage)
    self.init(
      name: option.name, style: option.style, placeholder: option.placeholder, help: option.help,
      defaultText: option.defaultText, isRequired: false
    ) { try option.parse($0).flatMap(Wrapped.init(json:)) }
  }
}

/// Options that mean the same in every command.
extension Option where Value == Int? {
  package static var threads: Self { Option(SettingList.shared.threads, of: .pretrain) }
}

extension Option where Value == Int {
  package static var seed: Self { Option(SettingList.shared.seed, of: .pretrain) }
}

extension Option where Value == Bool {
  package static var json: Self {
    .flag("json", help: "Prints one JSON object on standard output, and nothing else there.")
  }
}

private func parseInteger(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws -> Int {
  do { return try SettingKind.integer(text, in: range) } catch { throw UsageError("--\(name) \(error)") }
}

private func parseNumber(_ text: String, _ name: String, _ range: ClosedRange<Double>) throws -> Double {
  do { return try SettingKind.number(text, in: range) } catch { throw UsageError("--\(name) \(error)") }
}

private func choiceNames<Choice: CaseIterable & RawRepresentable>(_: Choice.Type) -> [String]
where Choice.RawValue == String {
  Choice.allCases.map(\.rawValue)
}

private func parseChoice<Choice: CaseIterable & RawRepresentable>(_ text: String, _ name: String) throws -> Choice
where Choice.RawValue == String {
  if let value = Choice(rawValue: NumberType.otherNames[text] ?? text) { return value }
  throw UsageError("--\(name) is \"\(text)\"; it must be \(choiceNames(Choice.self).joined(separator: ", ")).")
}
