import Storage

/// A day of the calendar in use since 1582.
package struct CalendarDay: Equatable, CustomStringConvertible {
  var year: Int
  var month: Int
  var day: Int

  /// - Parameter number: days since 1 January 1970. Howard Hinnant, "chrono-compatible low-level date algorithms".
  package init(number: Int) {
    let z = number + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shifted + 2) / 5 + 1
    month = shifted < 10 ? shifted + 3 : shifted - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// As ISO 8601 has it.
  package var description: String {
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
    return "\(year)-\(two(month))-\(two(day))"
  }
}

extension TaskKind {
  static func date(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    // 2000 to 2049.
    let start = 10_957 + random.next(below: 18_263)
    let days = 1 + random.number(digits: min(digits, 3))
    let isBefore = random.next(below: 3) == 0
    let from = CalendarDay(number: start)
    let to = CalendarDay(number: isBefore ? start - days : start + days)
    let question =
      switch (language, isBefore) {
      case (.english, false): "Which date is \(days) days after \(from)?"
      case (.english, true): "Which date is \(days) days before \(from)?"
      case (.chinese, false): "\(from) 之后 \(days) 天是哪一天？"
      case (.chinese, true): "\(from) 之前 \(days) 天是哪一天？"
      }
    return TaskInstance(
      key: "\(from) \(isBefore) \(days)", question: question, answer: "\(to)", check: .text(["\(to)"]))
  }
}
