import Storage

/// A value of a template: what Python has for it.
///
/// Lists and dictionaries never change, since the sandbox of `transformers` forbids it.
enum TemplateValue: Sendable {
  /// With what is wrong, for when it is used.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case float(Double)
  case string(TemplateText)
  case list(TemplateList)
  case tuple(TemplateList)
  case dictionary(TemplateDictionary)
  /// What `items()`, `keys()` and `values()` of a dictionary give.
  case view(TemplateList, name: String)
  case range(TemplateRange)
  case generator(TemplateGenerator)
  case namespace(TemplateNamespace)
  case loop(TemplateLoopState)
  case function(TemplateFunction)

  /// Python's name of the type.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .integer: "int"
    case .float: "float"
    case .string(let text): text.isSafe ? "Markup" : "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dictionary: "dict"
    case .view(_, let name): name
    case .range: "range"
    case .generator: "generator"
    case .namespace: "Namespace"
    case .loop: "LoopContext"
    case .function: "function"
    }
  }

  static func string(_ text: String) -> TemplateValue { .string(TemplateText(text)) }

  var measure: TemplateMeasure {
    switch self {
    case .list(let list), .tuple(let list), .view(let list, _): list.measure
    case .dictionary(let dictionary): dictionary.measure
    case .string(let text): TemplateMeasure(size: text.count + 2)
    case .function(.method(let object, _)): TemplateMeasure(size: 1, depth: object.measure.depth + 1, hasOpaque: true)
    case .generator, .namespace, .loop, .function: TemplateMeasure(size: 1, hasOpaque: true)
    default: TemplateMeasure(size: 1)
    }
  }

  /// A value from outside: its texts are content, except those that count as the template's own.
  init(_ json: JSON, ownTexts: TemplateVariable.OwnTexts = .none) {
    switch json {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .float(value)
    case .string(let text):
      if case .all = ownTexts { self = .string(text) } else { self = .string(TemplateText(text, isContent: true)) }
    case .array(let values): self = .list(TemplateList(values.map { TemplateValue($0, ownTexts: ownTexts) }))
    case .object(let members):
      self = .dictionary(
        TemplateDictionary(
          members.map { member in
            var own = TemplateVariable.OwnTexts.none
            if case .member(member.key, let texts) = ownTexts, let text = member.value.stringValue, texts.contains(text)
            {
              own = .all
            }
            return (.string(TemplateText(member.key, isContent: true)), TemplateValue(member.value, ownTexts: own))
          }))
    }
  }

  /// What Python's `bool` says.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .float(let value): value != 0
    case .string(let text): !text.isEmpty
    case .list(let list), .tuple(let list), .view(let list, _): !list.values.isEmpty
    case .dictionary(let dictionary): dictionary.count > 0
    case .range(let range): range.count > 0
    case .loop(let loop): loop.isLengthPositive
    case .generator, .namespace, .function: true
    }
  }

  var text: TemplateText? { if case .string(let text) = self { text } else { nil } }

  /// The whole number that Python takes this for as an index.
  var index: Int? {
    switch self {
    case .integer(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  var number: Double? {
    if case .float(let value) = self { value } else { index.map(Double.init) }
  }
}

/// Numbers at equal distances, of moderate size.
struct TemplateRange: Sendable {
  let start: Int
  let stop: Int
  let step: Int

  var count: Int {
    let distance = step > 0 ? stop - start : start - stop
    return distance <= 0 ? 0 : 1 + (distance - 1) / Int(step.magnitude)
  }

  subscript(place: Int) -> Int { start + place * step }
}

/// How large a value is, known without going through it: lists that share their parts can be larger than any memory.
struct TemplateMeasure: Sendable {
  /// Code points and items.
  var size: Int
  /// How deep lists and dictionaries are within each other.
  var depth: Int
  /// Whether it holds what Python shows by an address in memory, such as a function.
  var hasOpaque: Bool

  init(size: Int, depth: Int = 0, hasOpaque: Bool = false) {
    self.size = size
    self.depth = depth
    self.hasOpaque = hasOpaque
  }

  /// Of a list of `values`.
  init(of values: [TemplateValue]) {
    self.init(size: 2)
    depth = 1
    for value in values {
      let measure = value.measure
      let (sum, isTooMuch) = size.addingReportingOverflow(measure.size + 2)
      size = isTooMuch ? Int.max / 2 : min(sum, Int.max / 2)
      depth = max(depth, measure.depth + 1)
      hasOpaque = hasOpaque || measure.hasOpaque
    }
  }
}

/// The values of a list or tuple.
final class TemplateList: Sendable {
  let values: [TemplateValue]
  let measure: TemplateMeasure
  init(_ values: [TemplateValue]) {
    self.values = values
    measure = TemplateMeasure(of: values)
  }
}

/// A dictionary, which keeps its order.
final class TemplateDictionary: Sendable {
  let keys: [TemplateValue]
  let values: [TemplateValue]
  let measure: TemplateMeasure
  private let places: [TemplateKey: Int]

  /// Of a repeated key the first place and the last value count.
  init(_ members: [(TemplateValue, TemplateValue)]) {
    var (keys, values): ([TemplateValue], [TemplateValue]) = ([], [])
    var places: [TemplateKey: Int] = [:]
    for (key, value) in members {
      if let place = places[TemplateKey(value: key)] {
        values[place] = value
      } else {
        places[TemplateKey(value: key)] = keys.count
        keys.append(key)
        values.append(value)
      }
    }
    (self.keys, self.values, self.places) = (keys, values, places)
    measure = TemplateMeasure(of: keys + values)
  }

  var count: Int { keys.count }
  subscript(key: TemplateValue) -> TemplateValue? { places[TemplateKey(value: key)].map { values[$0] } }
  subscript(key: String) -> TemplateValue? { self[.string(key)] }
  var members: [(TemplateValue, TemplateValue)] { Array(zip(keys, values)) }
  var items: [TemplateValue] { zip(keys, values).map { .tuple(TemplateList([$0, $1])) } }
}

/// A value as a key: Python takes 1, 1.0 and True for the same.
struct TemplateKey: Hashable {
  let value: TemplateValue

  static func == (left: TemplateKey, right: TemplateKey) -> Bool { left.value.equals(right.value) }

  func hash(into hasher: inout Hasher) {
    switch value {
    case .string(let text): hasher.combine(text)
    case .bool, .integer, .float: hasher.combine(value.number)
    case .tuple(let list): for value in list.values { TemplateKey(value: value).hash(into: &hasher) }
    default: hasher.combine(0)
    }
  }
}

extension TemplateValue {
  /// Whether Python can use it as a key.
  var isHashable: Bool {
    switch self {
    case .list, .dictionary: false
    case .tuple(let list): list.values.allSatisfy(\.isHashable)
    default: true
    }
  }

  /// Python's `==`.
  func equals(_ other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let left), .string(let right)): return left == right
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      return left === right
        || left.values.count == right.values.count && zip(left.values, right.values).allSatisfy { $0.equals($1) }
    case (.dictionary(let left), .dictionary(let right)):
      return left === right
        || left.count == right.count
          && left.members.allSatisfy { key, value in right[key].map { value.equals($0) } ?? false }
    case (.range(let left), .range(let right)):
      return left.count == right.count
        && (left.count == 0 || left.start == right.start && (left.count == 1 || left.step == right.step))
    case (.float(let left), .float(let right)): return left == right
    default:
      if let left = index, let right = other.index { return left == right }
      if let whole = index, case .float(let value) = other { return Int(exactly: value) == whole }
      if let whole = other.index, case .float(let value) = self { return Int(exactly: value) == whole }
      return isSame(other)
    }
  }

  /// Python's `is`, as far as values show it.
  func isSame(_ other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.none, .none): true
    case (.bool(let left), .bool(let right)): left == right
    case (.integer(let left), .integer(let right)): left == right
    case (.string(let left), .string(let right)): left == right
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)): left === right
    case (.dictionary(let left), .dictionary(let right)): left === right
    case (.namespace(let left), .namespace(let right)): left === right
    case (.generator(let left), .generator(let right)): left === right
    case (.loop(let left), .loop(let right)): left === right
    case (.function(let left), .function(let right)): left.isSame(right)
    default: false
    }
  }

  /// Python's `<`; nil if it does not compare the two.
  func isLess(than other: TemplateValue) -> Bool? {
    switch (self, other) {
    case (.string(let left), .string(let right)): return left < right
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      for (first, second) in zip(left.values, right.values) where !first.equals(second) {
        return first.isLess(than: second)
      }
      return left.values.count < right.values.count
    default:
      if let left = index, let right = other.index { return left < right }
      if let left = number, let right = other.number { return left < right }
      return nil
    }
  }

  /// Python's `str`.
  var pythonText: TemplateText {
    switch self {
    case .undefined: TemplateText()
    case .string(let text): text
    default: representation
    }
  }

  /// Python's `repr`.
  var representation: TemplateText {
    switch self {
    case .undefined: return "Undefined"
    case .none: return "None"
    case .bool(let value): return value ? "True" : "False"
    case .integer(let value): return TemplateText(String(value))
    case .float(let value): return TemplateText(Templates.pythonText(value))
    case .string(let text): return text.isSafe ? "Markup(" + text.quoted + ")" : text.quoted
    case .list(let list): return Self.listed(list.values, "[", "]")
    case .tuple(let list): return Self.listed(list.values, "(", list.values.count == 1 ? ",)" : ")")
    case .view(let list, let name): return TemplateText(name) + Self.listed(list.values, "([", "])")
    case .dictionary(let dictionary):
      var result: TemplateText = "{"
      for (index, (key, value)) in dictionary.members.enumerated() {
        if index > 0 { result.append(", ") }
        result.append(key.representation)
        result.append(": ")
        result.append(value.representation)
      }
      result.append("}")
      return result
    case .range(let range):
      let step = range.step == 1 ? "" : ", \(range.step)"
      return TemplateText("range(\(range.start), \(range.stop)\(step))")
    case .generator, .namespace, .loop, .function: return TemplateText("<\(typeName)>")
    }
  }

  private static func listed(_ values: [TemplateValue], _ open: String, _ close: String) -> TemplateText {
    var result = TemplateText(open)
    for (index, value) in values.enumerated() {
      if index > 0 { result.append(", ") }
      result.append(value.representation)
    }
    result.append(close)
    return result
  }
}
