import Foundation

/// The arguments of a call, evaluated.
struct TemplateCallArguments {
  var positional: [TemplateValue] = []
  var named: [(name: String, value: TemplateValue)] = []

  /// The values of the parameters `names`, nil where none is given. `required` first ones must be given.
  func bound(
    to names: [String], required: Int = 0, of title: String, _ renderer: TemplateRenderer
  ) throws -> [TemplateValue?] {
    guard positional.count <= names.count else {
      throw renderer.failure("\(title) takes \(names.count) arguments, not \(positional.count)")
    }
    var result: [TemplateValue?] = positional + [TemplateValue?](repeating: nil, count: names.count - positional.count)
    for (name, value) in named {
      guard let place = names.firstIndex(of: name) else {
        throw renderer.failure("\(title) takes no argument '\(name.prefix(80))'")
      }
      guard result[place] == nil else { throw renderer.failure("\(title) has two values for '\(name)'") }
      result[place] = value
    }
    if let place = result.prefix(required).firstIndex(where: { $0 == nil }) {
      throw renderer.failure("\(title) needs the argument '\(names[place])'")
    }
    return result
  }
}

/// The time that `strftime_now` tells: by itself, rendering reaches nothing of the machine.
package struct TemplateClock: Sendable {
  /// Seconds since 1970.
  package var seconds: Int
  package init(seconds: Int) { self.seconds = seconds }
  /// The current time.
  package static var now: TemplateClock { TemplateClock(seconds: Int(Date().timeIntervalSince1970)) }

  /// `datetime.strftime` of the local time.
  func text(_ format: String) -> String? {
    var parts = tm()
    var time = time_t(seconds)
    localtime_r(&time, &parts)
    var prepared = ""
    var isDirective = false
    for character in format.unicodeScalars {
      if isDirective {
        // A time without a zone and microseconds, which C does not know.
        switch character {
        case "f": prepared += "000000"
        case "z", "Z": break
        default: prepared += "%" + String(character)
        }
        isDirective = false
      } else if character == "%" {
        isDirective = true
      } else {
        prepared.unicodeScalars.append(character)
      }
    }
    if isDirective { prepared += "%" }
    if prepared.isEmpty { return "" }
    var buffer = [CChar](repeating: 0, count: 64 + 64 * prepared.utf8.count)
    let count = strftime(&buffer, buffer.count, prepared, &parts)
    return String(validating: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

func pythonPower(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }

extension TemplateRenderer {
  /// What the environment has. The last three are refused when they are called.
  static let builtins = [
    "range", "dict", "namespace", "raise_exception", "strftime_now", "lipsum", "cycler", "joiner",
  ]

  func call(_ function: TemplateValue, _ arguments: TemplateCallArguments) throws -> TemplateValue {
    switch function {
    case .undefined(let reason): throw failure(reason)
    case .function(.macro(let macro)): return try call(macro, arguments)
    case .function(.builtin(let name)): return try call(builtin: name, arguments)
    case .function(.method(let object, let name)):
      if case .loop(let loop) = object { return try call(name, of: loop, arguments) }
      return try TemplateMethods.call(name, of: object, arguments, self)
    case .loop(let loop):
      let value = try arguments.bound(to: ["iterable"], required: 1, of: "'loop'", self)[0]!
      return .string(try recursed(loop, over: value))
    default: throw failure("a \(function.typeName) cannot be called")
    }
  }

  private func call(builtin name: String, _ arguments: TemplateCallArguments) throws -> TemplateValue {
    switch name {
    case "range": return try range(arguments)
    case "dict": return .dictionary(try dictionary(arguments, of: "'dict'"))
    case "namespace":
      var values: [String: TemplateValue] = [:]
      for (key, value) in try dictionary(arguments, of: "'namespace'").members {
        guard let name = key.text?.string else { throw unsupported("a namespace with keys that are no texts") }
        guard !name.hasPrefix("_") else { throw failure("a namespace has an attribute '\(name)' with an underscore") }
        values[name] = value
      }
      return try namespace(values)
    case "raise_exception":
      let message = try arguments.bound(to: ["message"], required: 1, of: "'raise_exception'", self)[0]!
      throw TemplateError(.raised, line: line, try text(message).string)
    case "strftime_now":
      let format = try arguments.bound(to: ["format"], required: 1, of: "'strftime_now'", self)[0]!
      guard let format = format.text, format.count < 1000, let text = clock.text(format.string) else {
        throw failure("'strftime_now' needs a short text as its format")
      }
      return .string(text)
    default: throw unsupported("the function '\(name)'")
    }
  }

  private func dictionary(_ arguments: TemplateCallArguments, of title: String) throws -> TemplateDictionary {
    guard arguments.positional.count <= 1 else { throw failure("\(title) takes one argument without a name") }
    var members: [(TemplateValue, TemplateValue)] = []
    switch arguments.positional.first {
    case nil: break
    case .dictionary(let dictionary): members = dictionary.members
    case .some(let value):
      try use(value)
      for pair in try items(of: value) {
        let parts = try items(of: pair)
        guard parts.count == 2 else { throw failure("\(title) needs pairs of a key and a value") }
        members.append((parts[0], parts[1]))
      }
    }
    members += arguments.named.map { (.string($0.name), $0.value) }
    guard case .dictionary(let result) = try dictionary(members) else { throw failure("\(title) fails") }
    return result
  }

  private func range(_ arguments: TemplateCallArguments) throws -> TemplateValue {
    guard arguments.named.isEmpty, (1...3).contains(arguments.positional.count) else {
      throw failure("'range' takes one to three whole numbers")
    }
    let numbers = try arguments.positional.map { value in
      try use(value)
      guard let number = value.index, number.magnitude < 1 << 40 else {
        throw failure("'range' takes whole numbers of moderate size, not a \(value.typeName)")
      }
      return number
    }
    let start = numbers.count == 1 ? 0 : numbers[0]
    let stop = numbers.count == 1 ? numbers[0] : numbers[1]
    let step = numbers.count == 3 ? numbers[2] : 1
    if step == 0 { throw failure("the step of 'range' is 0") }
    let range = TemplateRange(start: start, stop: stop, step: step)
    // Jinja's sandbox has the same bound.
    if range.count > 100_000 { throw failure("'range' is longer than 100000 numbers") }
    return .range(range)
  }

  private func call(
    _ name: String, of loop: TemplateLoopState, _ arguments: TemplateCallArguments
  ) throws -> TemplateValue {
    guard arguments.named.isEmpty else { throw failure("'loop.\(name)' takes no arguments with names") }
    let values = arguments.positional
    if name == "cycle" {
      guard !values.isEmpty else { throw failure("'loop.cycle' needs values") }
      return values[max(0, loop.index0) % values.count]
    }
    let list = TemplateList(values)
    if let last = loop.lastChanged, try equal(.tuple(last), .tuple(list)) { return .bool(false) }
    loop.lastChanged = list
    return .bool(true)
  }
}
