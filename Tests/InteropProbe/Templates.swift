import Storage
import Templates

/// Renders the template of each line of the input, read once however often it comes.
func printTemplates() throws {
  var templates: [String: Result<Template, TemplateError>] = [:]
  while let line = readLine() {
    let request = try JSON(parsing: line)
    guard let source = request["template"]?.stringValue, case .object(let values)? = request["values"],
      let now = request["now"]?.integerValue
    else { throw ProbeError(description: "a line is no template with values and a time") }
    if templates[source] == nil { templates[source] = Result { () throws(TemplateError) in try Template(source) } }
    print(try rendered(templates[source]!, values, now).compactText)
  }
}

private func rendered(
  _ template: Result<Template, TemplateError>, _ values: [JSON.Member], _ now: Int
) throws -> JSON {
  do {
    let result = try template.get().render(
      values.map { ($0.key, $0.value) }, clock: TemplateClock(seconds: now))
    let ranges = result.generationRanges.map { ranges in
      JSON.array(ranges.map { .array([.integer($0.lowerBound), .integer($0.upperBound)]) })
    }
    return .object([
      .init("pieces", .array(result.pieces.map { .array([.string($0.text), .bool($0.isContent)]) })),
      .init("generation", ranges ?? .null),
    ])
  } catch let error as TemplateError {
    return .object([
      .init("kind", .string("\(error.kind)")), .init("line", .integer(error.line)),
      .init("reason", .string(error.reason)),
    ])
  }
}
