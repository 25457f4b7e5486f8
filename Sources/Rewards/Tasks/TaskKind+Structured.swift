import Storage
import StructuredOutput

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
    func tool(_ name: String, _ parameters: [(name: String, type: String)]) -> JSON {
      let properties = parameters.map { JSON.Member($0.name, .object([.init("type", .string($0.type))])) }
      return .object([
        .init("type", .string("function")),
        .init(
          "function",
          .object([
            .init("name", .string(name)),
            .init(
              "parameters",
              .object([
                .init("type", .string("object")), .init("properties", .object(properties)),
                .init("required", .array(parameters.map { .string($0.name) })),
              ])),
          ])),
      ])
    }
    let list = JSON.array([
      tool("calculate", [("expression", "string")]),
      tool("convert", [("value", "number"), ("from", "string"), ("to", "string")]),
      tool("add_days", [("date", "string"), ("days", "integer")]),
    ])
    guard let tools = try? Tool.list(list) else { preconditionFailure("the tools are not valid") }
    return tools
  }()
}
