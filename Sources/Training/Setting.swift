import Model
import Storage

/// Who may give a setting another value than the run was begun with.
package struct SettingFreedom: OptionSet, Sendable {
  package let rawValue: Int
  package init(rawValue: Int) { self.rawValue = rawValue }

  /// `--resume`, since the setting changes nothing of what is learned.
  package static let onResume = SettingFreedom(rawValue: 1)
  /// Each process of a run: a machine's own number, or a path whose content is compared instead.
  package static let betweenProcesses = SettingFreedom(rawValue: 2)
  /// `--resume` with another length, which begins a new schedule.
  package static let onExtension = SettingFreedom(rawValue: 4)
}

/// What of an option's declaration does not depend on the type of its value: enough to read it from the command line, to
/// code it in `training.json`, to check it, and to explain it.
package struct SettingDescription: Sendable {
  /// The name of the flag, without dashes, and of the key in `training.json`.
  package let name: String
  package let kind: SettingKind
  /// What represents the value in the help page: "N", "FILE".
  package let placeholder: String
  package let help: String
  package let freedom: SettingFreedom
  /// The default for the help page, which may be a rule; nil when there is none.
  package let defaultText: @Sendable (Stage) -> String?
  /// The value of a run that gives none; nil where that depends on the data or the model.
  let standard: @Sendable (Stage) -> JSON?
  /// What a run did whose record lacks the setting; nil where every record has it.
  let valueInOlderRuns: JSON?
}

/// A declared option and the type of its value.
package protocol TypedSetting: Sendable {
  associatedtype Value: SettingValue
  var description: SettingDescription { get }
}

/// An option that always has a value: its default where the user gives none.
package struct Setting<Value: SettingValue>: TypedSetting {
  package let description: SettingDescription
  let standard: @Sendable (Stage) -> Value

  /// - Parameters:
  ///   - kind: nil for a choice, a flag or a list, whose kind follows from the type.
  ///   - standard: the default, by stage.
  init(
    _ name: String, _ placeholder: String? = nil, kind: SettingKind? = nil, mayDiffer: SettingFreedom = [],
    inOlderRuns: Value? = nil, help: String, standard: @escaping @Sendable (Stage) -> Value
  ) {
    let kind = kind ?? Value.kind
    self.standard = standard
    description = SettingDescription(
      name: name, kind: kind, placeholder: placeholder ?? kind.placeholder, help: help, freedom: mayDiffer,
      defaultText: { standard($0).json.helpText }, standard: { standard($0).json },
      valueInOlderRuns: inOlderRuns?.json)
  }

  init(
    _ name: String, _ placeholder: String? = nil, default standard: Value, mayDiffer: SettingFreedom = [],
    inOlderRuns: Value? = nil, help: String
  ) {
    self.init(name, placeholder, mayDiffer: mayDiffer, inOlderRuns: inOlderRuns, help: help) { _ in standard }
  }

  /// The default of a stage.
  package func standard(of stage: Stage) -> Value { standard(stage) }
}

extension Setting where Value == Int {
  init(
    _ name: String, default standard: Int, in range: ClosedRange<Int>, mayDiffer: SettingFreedom = [], help: String
  ) {
    self.init(name, kind: .integer(range), mayDiffer: mayDiffer, help: help) { _ in standard }
  }
}

extension Setting where Value == Double {
  init(_ name: String, default standard: Double, in range: ClosedRange<Double>, help: String) {
    self.init(name, kind: .number(range), help: help) { _ in standard }
  }
}

/// An option without a fixed default: left out, its value is found from the data and the model, or it has none.
package struct OpenSetting<Value: SettingValue>: TypedSetting {
  package let description: SettingDescription

  init(
    _ name: String, _ placeholder: String? = nil, kind: SettingKind? = nil, mayDiffer: SettingFreedom = [],
    help: String, defaultText: @escaping @Sendable (Stage) -> String? = { _ in nil }
  ) {
    let kind = kind ?? Value.kind
    description = SettingDescription(
      name: name, kind: kind, placeholder: placeholder ?? kind.placeholder, help: help, freedom: mayDiffer,
      defaultText: defaultText, standard: { _ in nil }, valueInOlderRuns: nil)
  }
}
