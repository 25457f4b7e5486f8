import Foundation
import Storage
import Templates

/// Small templates for each construct, with what Jinja2 3.1.6 renders them to with the settings of `transformers`, nil where
/// it refuses. Tests/Interop/test_templates.py compares the file with Jinja.
struct TemplateCases {
  let values: [(name: String, value: JSON)]
  let cases: [(template: String, text: String?)]

  static let all: TemplateCases = {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("TestSupport/Fixtures/jinja_cases.json").path
    let file = try! JSON(parsing: String(contentsOfFile: path, encoding: .utf8))
    guard case .object(let members)? = file["values"], let cases = file["cases"]?.arrayValue else {
      return TemplateCases(values: [], cases: [])
    }
    return TemplateCases(
      values: members.map { ($0.key, $0.value) },
      cases: cases.map { ($0.arrayValue![0].stringValue!, $0.arrayValue![1].stringValue) })
  }()
}

/// The text of a template, or what refuses it.
func rendered(
  _ template: String, _ values: [(name: String, value: JSON)] = [], _ limits: TemplateLimits = TemplateLimits()
) -> Result<RenderedText, TemplateError> {
  do {
    return .success(try Template(template).render(values, limits: limits, clock: TemplateClock(seconds: 0)))
  } catch let error as TemplateError {
    return .failure(error)
  } catch {
    return .failure(TemplateError(.failure, line: 0, "another error: \(error)"))
  }
}
