import Storage
import StructuredOutput
import Tokenization

extension TaskKind {
  static func extraction(_ language: TaskLanguage, _ random: inout SplitMix64) -> TaskInstance {
    let isEnglish = language == .english
    let name = random.pick(
      isEnglish
        ? ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas", "Kate", "Leo"]
        : ["小明", "小红", "李华", "王芳", "张伟", "刘洋", "陈静", "赵磊", "周敏", "吴刚", "郑爽", "孙丽"])
    let city = random.pick(
      isEnglish
        ? ["Lisbon", "Oslo", "Rome", "Paris", "Vienna", "Prague", "London", "Berlin", "Madrid", "Athens"]
        : ["北京", "上海", "广州", "成都", "杭州", "武汉", "西安", "南京", "重庆", "天津"])
    let age = 5 + random.next(below: 90)
    let sentence =
      isEnglish
      ? random.pick([
        "\(name) is \(age) years old and lives in \(city).", "In \(city) lives \(name), who is \(age).",
        "\(name), \(age), comes from \(city).",
      ])
      : random.pick(["\(name)今年\(age)岁，住在\(city)。", "住在\(city)的\(name)\(age)岁了。", "\(name)，\(age)岁，来自\(city)。"])
    let value = JSON.object([
      .init("name", .string(name)), .init("age", .integer(age)), .init("city", .string(city)),
    ])
    func property(_ type: String) -> JSON { .object([.init("type", .string(type))]) }
    let schema = JSON.object([
      .init("type", .string("object")),
      .init(
        "properties",
        .object([
          .init("name", property("string")), .init("age", property("integer")), .init("city", property("string")),
        ])), .init("required", .array([.string("name"), .string("age"), .string("city")])),
      .init("additionalProperties", .bool(false)),
    ])
    let question =
      (isEnglish ? "Write name, age and city as JSON: " : "把 name、age、city 写成 JSON：") + sentence
    return TaskInstance(
      key: "\(name) \(age) \(city)", question: question, answer: value.compactText,
      check: .json(schema: schema, value: value))
  }

  static func call(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    let isEnglish = language == .english
    let name: String
    let arguments: [JSON.Member]
    let question: String
    switch random.next(below: 3) {
    case 0:
      let (a, b) = (random.number(digits: digits), random.number(digits: digits))
      let term = "\(a) \(random.pick(["+", "-", "*"])) \(b)"
      (name, arguments) = ("calculate", [.init("expression", .string(term))])
      question = isEnglish ? "Use a tool to compute \(term)." : "用工具计算 \(term)。"
    case 1:
      let unit = random.pick(UnitTable.all)
      let count = 1 + random.number(digits: digits)
      (name, arguments) = (
        "convert",
        [
          .init("value", .integer(count)), .init("from", .string(unit.from.english)),
          .init("to", .string(unit.to.english)),
        ]
      )
      question =
        isEnglish
        ? "Use a tool to convert \(count) \(unit.from.english) to \(unit.to.english)."
        : "用工具把 \(count) \(unit.from.english) 换算成 \(unit.to.english)。"
    default:
      let day = CalendarDay(number: 10_957 + random.next(below: 18_263))
      let days = 1 + random.number(digits: min(digits, 3))
      (name, arguments) = ("add_days", [.init("date", .string("\(day)")), .init("days", .integer(days))])
      question =
        isEnglish ? "Use a tool to find the day \(days) days after \(day)." : "用工具查 \(day) 之后 \(days) 天是哪一天。"
    }
    let call = ToolCall(name: name, arguments: .object(arguments))
    return TaskInstance(
      key: call.json.compactText, system: ToolText.instructions(toolsOfCalls), question: question,
      answer: ToolText.call(name: name, arguments: call.arguments.compactText), check: .calls([call]))
  }

  private static let toolsOfCalls: [Tool] = {
    let list = JSON.array([BuiltInTool.calculate, .convert, .addDays].map(\.json))
    guard let tools = try? Tool.list(list) else { preconditionFailure("the tools are not valid") }
    return tools
  }()

  /// A question that takes several calls: entries of a table, or a conversion, and what they make together.
  static func errand(_ language: TaskLanguage, digits: Int, _ random: inout SplitMix64) -> TaskInstance {
    let isEnglish = language == .english
    var errand = Errand()
    let question: String
    let key: String
    if random.next(below: 2) == 0 {
      let names =
        isEnglish ? ["Anna", "Ben", "Clara", "David", "Emma", "Felix"] : ["小明", "小红", "李华", "王芳", "张伟", "刘洋"]
      errand.table = names.map { JSON.Member($0, .integer(random.number(digits: digits))) }
      let one = random.pick(names)
      let other = random.pick(names.filter { $0 != one })
      let counts = [one, other].map { errand.call(.lookUp, [.init("key", .string($0))]) }
      errand.call(.calculate, [.init("expression", .string("\(counts[0]) + \(counts[1])"))])
      question =
        isEnglish
        ? "How many stamps have \(one) and \(other) together? The table has a number for each."
        : "\(one)和\(other)一共有多少张邮票？表里有每个人的数目。"
      // Who has how many is in the table alone.
      key = "\(one) \(other) \(errand.last)"
    } else {
      let unit = random.pick(UnitTable.all)
      let (from, to) = (unit.from.english, unit.to.english)
      let (count, more) = (1 + random.number(digits: digits), 1 + random.number(digits: digits))
      let value = errand.call(
        .convert, [.init("value", .integer(count)), .init("from", .string(from)), .init("to", .string(to))])
      errand.call(.calculate, [.init("expression", .string("\(value) + \(more)"))])
      question =
        isEnglish
        ? "How many \(to) are \(count) \(from) and \(more) \(to)?"
        : "\(count) \(from) 加 \(more) \(to) 一共是多少 \(to)？"
      key = "\(from) \(count) \(more)"
    }
    var instance = TaskInstance(
      key: key, question: question, answer: "#### \(errand.last)", check: .number(Double(errand.last)))
    instance.errand = errand
    return instance
  }
}

/// The calls that lead to an answer, and what the tools said.
struct Errand {
  static let tools: [BuiltInTool] = [.lookUp, .convert, .calculate]
  /// One more than any question takes, so that a mistake can be mended.
  static let turns = 4
  var table: [JSON.Member] = []
  private(set) var steps: [ChatMessage] = []
  /// The last result.
  private(set) var last = 0

  /// Calls a tool whose result is a whole number.
  @discardableResult
  mutating func call(_ tool: BuiltInTool, _ arguments: [JSON.Member]) -> Int {
    let said = tool.run(.object(arguments), table: table)
    guard let result = said["result"]?.integerValue else { preconditionFailure("\(tool) said \(said.compactText)") }
    let function = JSON.object([.init("name", .string(tool.rawValue)), .init("arguments", .object(arguments))])
    let call = JSON.object([.init("type", .string("function")), .init("function", function)])
    steps += [
      ChatMessage(role: .assistant, content: "", fields: [.init("tool_calls", .array([call]))]),
      ChatMessage(role: .tool, content: said.compactText),
    ]
    last = result
    return result
  }
}
