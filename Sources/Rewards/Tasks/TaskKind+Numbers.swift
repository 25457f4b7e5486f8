import Storage

extension SplitMix64 {
  /// A whole number of one to `digits` digits, each number of digits as likely as any other.
  mutating func number(digits: Int) -> Int {
    let count = 1 + next(below: digits)
    let least = count == 1 ? 0 : Self.power(count - 1)
    return least + next(below: Self.power(count) - least)
  }

  private static func power(_ exponent: Int) -> Int { (0..<exponent).reduce(1) { value, _ in value * 10 } }

  /// One of a list's elements, each as likely as any other.
  package mutating func pick<Element>(_ list: [Element]) -> Element { list[next(below: list.count)] }
}

extension TaskKind {
  func arithmetic(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    var (a, b) = (random.number(digits: digits), random.number(digits: digits))
    let symbol: String
    let value: Int
    switch self {
    case .subtraction:
      if a < b { swap(&a, &b) }
      (symbol, value) = ("-", a - b)
    case .multiplication: (symbol, value) = ("×", a * b)
    default: (symbol, value) = ("+", a + b)
    }
    let term = "\(a) \(symbol) \(b)"
    let question =
      language == .english
      ? random.pick(["What is \(term)?", "\(term) = ?", "Compute \(term)."])
      : random.pick(["\(term) 等于多少？", "\(term) = ?", "计算 \(term)。"])
    let key = self == .subtraction ? "\(a) \(b)" : "\(min(a, b)) \(max(a, b))"
    return TaskInstance(
      key: key, question: question, answer: "\(term) = \(value)", check: .number(Double(value)))
  }

  static func letterCount(_ language: TaskLanguage, _ random: inout SplitMix64) -> TaskInstance {
    let isEnglish = language == .english
    let choices =
      isEnglish ? ["b", "d", "l", "m", "n", "r", "s", "t"] : ["山", "水", "木", "火", "人", "天", "月", "花"]
    // Each count as often as any other, so that no answer is right for having been said often.
    let count = 1 + random.next(below: 4)
    let letter = random.pick(choices)
    var letters = (0..<max(2, count) + random.next(below: 3)).map { index in
      index < count ? letter : random.pick(choices.filter { $0 != letter })
    }
    letters.shuffle(using: &random)
    if isEnglish { letters = letters.flatMap { [$0, random.pick(["a", "e", "i", "o"])] } }
    let word = letters.joined()
    let spelled = letters.joined(separator: " ")
    return TaskInstance(
      key: "\(word) \(letter)",
      question: isEnglish
        ? random.pick(["How many \(letter) are in \(word)?", "Count the letter \(letter) in \(word)."])
        : random.pick(["\(word) 里有几个 \(letter)？", "数一数 \(word) 中的 \(letter)。"]),
      answer: "\(spelled): \(count)", check: .number(Double(count)))
  }

  static func sorting(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    let numbers = (0..<3 + random.next(below: 3)).map { _ in random.number(digits: digits) }
    let falls = random.next(below: 4) == 0
    let sorted = falls ? numbers.sorted(by: >) : numbers.sorted()
    func text(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ", ") }
    let question =
      switch (language, falls) {
      case (.english, false): "Sort from small to large: \(text(numbers))"
      case (.english, true): "Sort from large to small: \(text(numbers))"
      case (.chinese, false): "从小到大排列：\(text(numbers))"
      case (.chinese, true): "从大到小排列：\(text(numbers))"
      }
    return TaskInstance(
      key: "\(falls) \(text(numbers))", question: question, answer: text(sorted), check: .text([text(sorted)]))
  }

  static func conversion(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    let unit = random.pick(UnitTable.all)
    let count = 1 + random.number(digits: digits)
    let (from, to) = language == .english ? (unit.from.english, unit.to.english) : (unit.from.chinese, unit.to.chinese)
    let value = count * unit.factor
    return TaskInstance(
      key: "\(unit.from.english) \(count)",
      question: language == .english
        ? random.pick(["Convert \(count) \(from) to \(to).", "How many \(to) are \(count) \(from)?"])
        : random.pick(["\(count)\(from)是多少\(to)？", "把 \(count)\(from)换算成\(to)。"]),
      answer: language == .english ? "\(count) \(from) = \(value) \(to)" : "\(count)\(from) = \(value)\(to)",
      check: .number(Double(value)))
  }
}

/// Units that are whole multiples of others.
enum UnitTable {
  struct Name {
    var english: String
    var chinese: String
  }

  static let all: [(from: Name, to: Name, factor: Int)] = [
    (Name(english: "km", chinese: "公里"), Name(english: "m", chinese: "米"), 1000),
    (Name(english: "m", chinese: "米"), Name(english: "cm", chinese: "厘米"), 100),
    (Name(english: "kg", chinese: "公斤"), Name(english: "g", chinese: "克"), 1000),
    (Name(english: "litres", chinese: "升"), Name(english: "ml", chinese: "毫升"), 1000),
    (Name(english: "hours", chinese: "小时"), Name(english: "minutes", chinese: "分钟"), 60),
    (Name(english: "minutes", chinese: "分钟"), Name(english: "seconds", chinese: "秒"), 60),
    (Name(english: "days", chinese: "天"), Name(english: "hours", chinese: "小时"), 24),
    (Name(english: "weeks", chinese: "周"), Name(english: "days", chinese: "天"), 7),
  ]
}
