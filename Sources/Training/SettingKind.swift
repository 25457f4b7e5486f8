import Model
import Storage

/// What the values of an option may be, and how they are read from texts and from JSON.
package enum SettingKind: Sendable, Equatable {
  case flag
  case integer(ClosedRange<Int>)
  case number(ClosedRange<Double>)
  case text
  case texts
  /// One of some names.
  case choice([String])
  /// Some of them.
  case choices([String])

  var placeholder: String {
    switch self {
    case .flag: ""
    case .integer: "N"
    case .number: "X"
    case .text, .texts: "TEXT"
    case .choice(let names), .choices(let names): names.joined(separator: "|")
    }
  }

  /// The value that the words after a flag mean.
  ///
  /// - Parameter texts: one for all kinds except `texts` and `choices`.
  /// - Throws: `SettingProblem` when they mean none.
  package func value(of texts: [String]) throws(SettingProblem) -> JSON {
    let text = texts.first ?? ""
    switch self {
    case .flag: return .bool(true)
    case .integer(let range): return .integer(try Self.integer(text, in: range))
    case .number(let range): return .number(try Self.number(text, in: range))
    case .text, .choice: return try checked(.string(text))
    case .texts, .choices: return try checked(.array(texts.map { .string($0) }))
    }
  }

  /// A value of a record as it would be written today.
  ///
  /// - Throws: `SettingProblem` when it is none of this kind.
  func checked(_ value: JSON) throws(SettingProblem) -> JSON {
    switch self {
    case .flag:
      guard value.boolValue != nil else { throw Self.other(value, "true or false") }
      return value
    case .integer(let range):
      guard let number = value.integerValue else { throw Self.other(value, "a whole number") }
      return .integer(try Self.inside(range, number))
    case .number(let range):
      guard let number = value.doubleValue else { throw Self.other(value, "a number") }
      return .number(try Self.inside(range, number))
    case .text:
      guard value.stringValue != nil else { throw Self.other(value, "a text") }
      return value
    case .texts:
      guard let values = value.arrayValue, values.allSatisfy({ $0.stringValue != nil }) else {
        throw Self.other(value, "a list of texts")
      }
      return value
    case .choice(let names):
      guard let text = value.stringValue.map(Self.currentName), names.contains(text) else {
        throw Self.other(value, names.joined(separator: ", "))
      }
      return .string(text)
    case .choices(let names):
      guard let values = value.arrayValue else { throw Self.other(value, "a list of texts") }
      for value in values where !names.contains(value.stringValue ?? "") {
        throw SettingProblem("has \(value.compactText); it can have \(names.joined(separator: ", ")).")
      }
      return value
    }
  }

  /// - Throws: `SettingProblem` when the text is no whole number of the range.
  package static func integer(_ text: String, in range: ClosedRange<Int>) throws(SettingProblem) -> Int {
    guard let value = Int(text) else { throw other(.string(text), "a whole number") }
    return try inside(range, value)
  }

  /// - Throws: `SettingProblem` when the text is no number of the range.
  package static func number(_ text: String, in range: ClosedRange<Double>) throws(SettingProblem) -> Double {
    guard let value = Double(text), !value.isNaN else { throw other(.string(text), "a number") }
    return try inside(range, value)
  }

  private static func currentName(_ name: String) -> String { NumberType.otherNames[name] ?? name }

  private static func inside<Number: Comparable & SettingValue>(
    _ range: ClosedRange<Number>, _ value: Number
  ) throws(SettingProblem) -> Number {
    guard !range.contains(value) else { return value }
    let (least, most) = (range.lowerBound.json, range.upperBound.json)
    let isOpen = most == .integer(.max) || most == .number(.infinity)
    throw SettingProblem(
      "is \(value.json.settingText); it must be "
        + (isOpen ? "at least \(least.settingText)." : "between \(least.settingText) and \(most.settingText)."))
  }

  private static func other(_ value: JSON, _ expected: String) -> SettingProblem {
    SettingProblem("is \(value.compactText); it must be \(expected).")
  }
}

/// Why a value is none of an option's: what follows its name, as in `--steps is 0; it must be at least 1.`
package struct SettingProblem: Error, Equatable, CustomStringConvertible {
  package let description: String
  init(_ description: String) { self.description = description }
}

/// The type of an option's value.
package protocol SettingValue: Sendable, Equatable {
  /// What the values may be where the declaration does not say.
  static var kind: SettingKind { get }
  init?(json: JSON)
  var json: JSON { get }
}

extension Int: SettingValue {
  package static var kind: SettingKind { .integer(0...Int.max) }
  package init?(json: JSON) {
    guard let value = json.integerValue else { return nil }
    self = value
  }
  package var json: JSON { .integer(self) }
}

extension Double: SettingValue {
  package static var kind: SettingKind { .number(-Double.infinity...Double.infinity) }
  package init?(json: JSON) {
    guard let value = json.doubleValue else { return nil }
    self = value
  }
  package var json: JSON { .number(self) }
}

extension Bool: SettingValue {
  package static var kind: SettingKind { .flag }
  package init?(json: JSON) {
    guard let value = json.boolValue else { return nil }
    self = value
  }
  package var json: JSON { .bool(self) }
}

extension String: SettingValue {
  package static var kind: SettingKind { .text }
  package init?(json: JSON) {
    guard let value = json.stringValue else { return nil }
    self = value
  }
  package var json: JSON { .string(self) }
}

extension Array: SettingValue where Element: SettingValue {
  package static var kind: SettingKind {
    if case .choice(let names) = Element.kind { .choices(names) } else { .texts }
  }
  package init?(json: JSON) {
    guard let values = json.arrayValue else { return nil }
    self = values.compactMap { Element(json: $0) }
  }
  package var json: JSON { .array(map(\.json)) }
}

/// A setting that is one of some names.
package protocol SettingChoice: SettingValue, CaseIterable, RawRepresentable<String> {}

extension SettingChoice {
  package static var kind: SettingKind { .choice(allCases.map(\.rawValue)) }
  package init?(json: JSON) { self.init(rawValue: json.stringValue ?? "") }
  package var json: JSON { .string(rawValue) }
}

extension JSON {
  /// A setting's value for people: "0.1", "bf16", "q_proj v_proj", "yes".
  package var settingText: String {
    switch self {
    case .number(let value): formatNumber(value)
    case .string(let text): text
    case .bool(let value): value ? "yes" : "no"
    case .array(let values): values.map(\.settingText).joined(separator: " ")
    default: compactText
    }
  }

  /// The same as a default in the help page, where a flag and an empty list have none.
  var helpText: String? {
    switch self {
    case .bool, .array: nil
    default: settingText
    }
  }
}
