import Foundation
import Storage
import StructuredOutput

/// A tool that the program runs itself, so that a model can learn to use tools: it reads its arguments and the task's table, and
/// nothing else, and its work is bounded.
package enum BuiltInTool: String, CaseIterable, Sendable {
  case calculate, convert
  case addDays = "add_days"
  case lookUp = "look_up"

  private var parameters: [(name: String, type: String)] {
    switch self {
    case .calculate: [("expression", "string")]
    case .convert: [("value", "number"), ("from", "string"), ("to", "string")]
    case .addDays: [("date", "string"), ("days", "integer")]
    case .lookUp: [("key", "string")]
    }
  }

  /// The description, as in OpenAI's API.
  package var json: JSON {
    let properties = parameters.map { JSON.Member($0.name, .object([.init("type", .string($0.type))])) }
    return .object([
      .init("type", .string("function")),
      .init(
        "function",
        .object([
          .init("name", .string(rawValue)),
          .init(
            "parameters",
            .object([
              .init("type", .string("object")), .init("properties", .object(properties)),
              .init("required", .array(parameters.map { .string($0.name) })),
            ])),
        ])),
    ])
  }

  /// What the tool says to a call: a value, or in one sentence what is wrong with the arguments.
  package func run(_ arguments: JSON, table: [JSON.Member]) -> JSON {
    do throws(ToolFailure) {
      return .object([.init("result", try result(arguments, table))])
    } catch {
      return .object([.init("error", .string(error.sentence))])
    }
  }

  private func result(_ arguments: JSON, _ table: [JSON.Member]) throws(ToolFailure) -> JSON {
    func text(_ name: String) throws(ToolFailure) -> String {
      guard let text = arguments[name]?.stringValue else { throw ToolFailure("\(rawValue) needs a text \"\(name)\".") }
      guard text.utf8.count <= 200 else { throw ToolFailure("\"\(name)\" of \(rawValue) is longer than 200 bytes.") }
      return text
    }
    switch self {
    case .calculate: return Self.json(try Arithmetic.value(of: text("expression")))
    case .convert:
      guard let value = arguments["value"]?.doubleValue, value.isFinite else {
        throw ToolFailure("convert needs a number \"value\".")
      }
      let (from, to) = (try text("from"), try text("to"))
      for unit in UnitTable.all {
        func isName(_ name: UnitTable.Name, _ text: String) -> Bool { name.english == text || name.chinese == text }
        if isName(unit.from, from), isName(unit.to, to) { return Self.json(value * Double(unit.factor)) }
        if isName(unit.to, from), isName(unit.from, to) { return Self.json(value / Double(unit.factor)) }
      }
      throw ToolFailure("convert does not know how many \(to.prefix(20)) are in \(from.prefix(20)).")
    case .addDays:
      let date = try text("date")
      guard let start = CalendarDay(parsing: date) else {
        throw ToolFailure("add_days needs a \"date\" as 2024-02-29, from the years 1 to 9999.")
      }
      guard let days = arguments["days"]?.integerValue, abs(days) <= 100_000 else {
        throw ToolFailure("add_days needs a whole number \"days\", at most 100000.")
      }
      let day = CalendarDay(number: start.number + days)
      guard (1...9999).contains(day.year) else { throw ToolFailure("that day is not in the years 1 to 9999.") }
      return .string(day.description)
    case .lookUp:
      let key = try text("key")
      guard let value = table.first(where: { $0.key == key })?.value else {
        throw ToolFailure("there is no entry \"\(key.prefix(40))\" in the table.")
      }
      return value
    }
  }

  private static func json(_ number: Double) -> JSON {
    Int(exactly: number).map(JSON.integer) ?? .number(number)
  }
}

/// Why a tool has no result, for the model.
struct ToolFailure: Error {
  let sentence: String
  init(_ sentence: String) { self.sentence = sentence }
}

extension CalendarDay {
  /// - Parameter text: as ISO 8601 has it; nil for what is no day of the years 1 to 9999.
  init?(parsing text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard text.utf8.count == 10, parts.count == 3, let year = parts[0], let month = parts[1], let day = parts[2],
      (1...9999).contains(year), (1...12).contains(month), (1...31).contains(day)
    else { return nil }
    (self.year, self.month, self.day) = (year, month, day)
    // A day that there is not, such as 31 April, is another one when it is counted.
    guard CalendarDay(number: number) == self else { return nil }
  }

  /// Days since 1 January 1970, by the algorithm of `init(number:)` the other way round.
  var number: Int {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}

/// Sums, differences, products, quotients, signs and parentheses of decimal numbers.
enum Arithmetic {
  /// Parentheses and signs within each other; more would only be there to exhaust the stack.
  private static let deepest = 20

  static func value(of text: String) throws(ToolFailure) -> Double {
    var reader = Reader(rest: Array(text.filter { !$0.isWhitespace })[...])
    let value = try reader.sum(depth: 0)
    guard reader.rest.isEmpty else { throw reader.unexpected }
    guard value.isFinite else { throw ToolFailure("the result is not a finite number.") }
    return value
  }

  private struct Reader {
    var rest: ArraySlice<Character>

    var unexpected: ToolFailure {
      ToolFailure(
        rest.first.map { "calculate cannot read the expression at \"\($0)\"." } ?? "the expression ends too early.")
    }

    mutating func take(_ characters: String) -> Character? {
      guard let next = rest.first, characters.contains(next) else { return nil }
      return rest.removeFirst()
    }

    mutating func sum(depth: Int) throws(ToolFailure) -> Double {
      var value = try product(depth: depth)
      while let sign = take("+-") {
        let next = try product(depth: depth)
        value = sign == "+" ? value + next : value - next
      }
      return value
    }

    mutating func product(depth: Int) throws(ToolFailure) -> Double {
      var value = try factor(depth: depth)
      while let sign = take("*/×÷") {
        let next = try factor(depth: depth)
        if sign == "*" || sign == "×" {
          value *= next
        } else {
          guard next != 0 else { throw ToolFailure("nothing can be divided by 0.") }
          value /= next
        }
      }
      return value
    }

    mutating func factor(depth: Int) throws(ToolFailure) -> Double {
      guard depth < deepest else {
        throw ToolFailure("the expression has more than \(deepest) parentheses in each other.")
      }
      if take("-") != nil { return try -factor(depth: depth + 1) }
      if take("(") != nil {
        let value = try sum(depth: depth + 1)
        guard take(")") != nil else { throw unexpected }
        return value
      }
      var digits = ""
      while let digit = take("0123456789.") { digits.append(digit) }
      guard let value = Double(digits) else { throw unexpected }
      return value
    }
  }
}
