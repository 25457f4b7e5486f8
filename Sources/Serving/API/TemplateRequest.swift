import Storage
import Tokenization

/// The variables of the chat template that a request sets, and whether the model is to think before it answers.
struct TemplateRequest {
  private(set) var variables: [JSON.Member] = []
  /// What templates call the switch.
  static let switches = ["enable_thinking", "open_thinking"]

  /// Reads `chat_template_kwargs`, `enable_thinking`, `open_thinking` and `reasoning_effort`.
  ///
  /// - Parameter isJSON: whether the answer is held to a form from its first token, which leaves no room for thoughts.
  /// - Throws: `APIError` for what the template does not know.
  init(_ fields: RequestFields, _ template: ChatTemplate, isJSON: Bool) throws(APIError) {
    var wanted: [JSON.Member] = []
    if let given = try fields.fields("chat_template_kwargs"), case .object(let members) = given.object {
      wanted += members.filter { !$0.value.isNull }
    }
    for name in Self.switches {
      if let value = try fields.bool(name) { wanted.append(.init(name, .bool(value))) }
    }
    guard let jinja = template.jinja else {
      try Self.refuse(wanted)
      _ = try fields.string("reasoning_effort")
      return
    }
    for member in wanted where !Self.switches.contains(member.key) {
      guard jinja.mentions(member.key) else {
        throw APIError.unsupported(
          "chat_template_kwargs.\(member.key)",
          "'chat_template_kwargs.\(member.key)' is no variable of this model's chat template.")
      }
      variables.append(member)
    }
    var thinks = wanted.first { Self.switches.contains($0.key) }?.value
    // A hint: a template that cannot follow it is used as it is.
    if let effort = try fields.string("reasoning_effort") {
      if jinja.mentions("reasoning_effort") { variables.append(.init("reasoning_effort", .string(effort))) }
      if thinks == nil, Self.switches.contains(where: jinja.mentions) { thinks = .bool(effort != "none") }
    }
    if thinks == nil, isJSON { thinks = .bool(false) }
    guard let thinks else { return }
    let known = Self.switches.filter(jinja.mentions)
    if known.isEmpty, thinks == .bool(true) {
      throw APIError.unsupported("enable_thinking", "this model's chat template has no switch for thinking.")
    }
    variables += known.map { JSON.Member($0, thinks) }
  }

  /// v1's template has no variables; a switch that is off asks for nothing.
  private static func refuse(_ wanted: [JSON.Member]) throws(APIError) {
    for member in wanted where member.value != .bool(false) {
      throw APIError.unsupported(
        "chat_template_kwargs", "'\(member.key)' is no variable of this model's chat template, which has none.")
    }
  }
}
