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
    let renderer = TemplateRenderer(
      values: values.map { ($0.name, TemplateValue($0.value)) }, limits: limits, clock: clock)
    return try renderer.render(body)
  }
}
