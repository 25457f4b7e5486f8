import Storage

/// A chat template: Jinja as `transformers` renders it, which is Jinja2's immutable sandbox with `trim_blocks`,
/// `lstrip_blocks`, loop controls, `tojson`, `raise_exception`, `strftime_now` and `{% generation %}` blocks.
///
///     let template = try Template(source)
///     let rendered = try template.render([("messages", messages), ("add_generation_prompt", .bool(true))])
///
/// What it renders is equal to Jinja's to the byte, or refused: a template of Jinja's other tags and filters, which no chat
/// template needs, is refused by their name. A rendering is bounded (`TemplateLimits`) and reaches nothing of the machine.
package struct Template: Sendable {
  /// Bytes of the longest template that is read.
  package static let maximumSize = 4 << 20

  private let body: [TemplateStatement]

  /// - Throws: `TemplateError` if `source` is not a template, or uses what is not supported.
  package init(_ source: String) throws(TemplateError) {
    guard source.utf8.count <= Self.maximumSize else {
      throw TemplateError(.limit, line: 1, "it is longer than \(Self.maximumSize) bytes")
    }
    body = try TemplateParser.parse(source)
  }

  /// The text of `values`, the template's variables, such as `messages`. Every text among them is content; the pieces of the
  /// result tell it from the template's own text.
  ///
  /// - Parameter clock: what `strftime_now` tells.
  /// - Throws: `TemplateError`: of the kind `.raised` if the template refuses the values itself.
  package func render(
    _ values: [(name: String, value: JSON)], limits: TemplateLimits = TemplateLimits(), clock: TemplateClock = .now
  ) throws -> RenderedText {
    try render(
      values.map { TemplateVariable($0.name, $0.value) }, limits: limits, clock: clock)
  }

  /// The same with variables of which some texts count as the template's own.
  package func render(
    _ variables: [TemplateVariable], limits: TemplateLimits = TemplateLimits(), clock: TemplateClock = .now
  ) throws -> RenderedText {
    let renderer = TemplateRenderer(
      values: variables.map { ($0.name, TemplateValue($0.value, ownTexts: $0.ownTexts)) }, limits: limits, clock: clock)
    return try renderer.render(body)
  }
}

/// A variable of a template.
package struct TemplateVariable: Sendable {
  /// Which texts of a value count as the template's own, so that control tokens are found in them.
  package enum OwnTexts: Sendable {
    case none
    /// The whole value, such as the text of a token.
    case all
    /// Of a list of objects, the member of this name of each, where it is one of these texts: a message's role, which
    /// templates put into tokens such as `<|user|>`.
    case member(String, oneOf: [String])
  }

  package var name: String
  package var value: JSON
  package var ownTexts: OwnTexts

  package init(_ name: String, _ value: JSON, ownTexts: OwnTexts = .none) {
    self.name = name
    self.value = value
    self.ownTexts = ownTexts
  }
}
