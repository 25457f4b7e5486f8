import Foundation
import Storage
import Templates
import Testing

@Suite struct TemplateTests {
  @Test func rendersWhatJinjaRenders() {
    #expect(TemplateCases.all.cases.count > 200)
    for (template, text) in TemplateCases.all.cases {
      switch rendered(template, TemplateCases.all.values) {
      case .success(let result): #expect(result.text == text, "\(template)")
      case .failure(let error):
        #expect(text == nil, "\(template): \(error)")
        #expect(error.kind != .unsupported, "\(template): \(error)")
      }
    }
  }

  /// [ ] around what is content.
  private func marked(_ template: String, _ values: [(name: String, value: JSON)]) throws -> String {
    try rendered(template, values).get().pieces.map { $0.isContent ? "[\($0.text)]" : $0.text }.joined()
  }

  @Test func knowsContentWhateverATemplateDoesToIt() throws {
    let values: [(name: String, value: JSON)] = [
      ("c", .string(" <|End|>,b ")), ("d", .object([.init("k\"", .string("v\n"))])),
      ("l", .array([.string("a"), .string("b")])),
    ]
    let expected = [
      ("x{{ c }}y", "x[ <|End|>,b ]y"),
      ("{{ c|trim ~ c.strip() }}", "[<|End|>,b<|End|>,b]"),
      ("{{ '<|' + c + '|>' }}", "<|[ <|End|>,b ]|>"),
      ("{{ c.upper() }}{{ c|lower }}{{ c|title }}", "[ <|END|>,B  <|end|>,b  <|end|>,b ]"),
      ("{{ c[1:4] }}{{ c[::-1] }}{{ c[1] }}", "[<|E b,>|dnE|< <]"),
      ("{{ c|replace('End', 'im') }}", "[ <|]im[|>,b ]"),
      ("{{ 'a-b'|replace('-', c) }}", "a[ <|End|>,b ]b"),
      ("{{ c.split(',')|join(';') }}", "[ <|End|>];[b ]"),
      ("{{ d|tojson }}", "{\"[k\\\"]\": \"[v\\n]\"}"),
      ("{{ d }}{{ l }}", "{'[k\"]': '[v\\n]'}['[a]', '[b]']"),
      ("{{ '%s!' % c.strip() }}{{ '{}?'.format(l[0]) }}", "[<|End|>,b]![a]?"),
      ("{% set x %}({{ c|trim }}){% endset %}{{ x|upper }}", "([<|END|>,B])"),
      ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(l[1]) }}", "<[b]>"),
      ("{% for a in l %}{{ a }}{{ loop.index }}{% endfor %}", "[a]1[b]2"),
      ("{% for k in d %}{{ k }}{% endfor %}{% for x in l[0] %}{{ x }}{% endfor %}", "[k\"a]"),
      ("{{ 'x\ny'|indent(2) }}{{ c|trim|indent(2, true) }}", "x\n  y  [<|End|>,b]"),
      ("{{ l[0] * 2 }}{{ l|join }}{{ l[0].center(3, '.') }}{{ l|map('upper')|list|last }}", "[aaab].[a].[B]"),
      (
        "{% set ns = namespace(t='') %}{% for a in l %}{% set ns.t = ns.t + a + ',' %}{% endfor %}{{ ns.t }}",
        "[a],[b],"
      ),
      ("{{ c if c is string }}{{ none or l[0] }}{{ x|default(l[1]) }}", "[ <|End|>,b ab]"),
      ("{{ (c|safe) + '&' }}{{ c|e }}", "[ <|End|>,b ]&amp;[ &lt;|End|&gt;,b ]"),
    ]
    for (template, text) in expected { #expect(try marked(template, values) == text, "\(template)") }
  }

  @Test func recordsGenerationBlocks() throws {
    let values: [(name: String, value: JSON)] = [("l", .array([.string("é€"), .string("b")]))]
    let template = "{% for a in l %}u:{% generation %}{{ a }}.{% endgeneration %}\n{% endfor %}"
    let result = try rendered(template, values).get()
    #expect(result.text == "u:é€.u:b.")
    #expect(result.generationRanges == [2..<5, 7..<9])
    let inside = "{% macro m() %}{% generation %}x{% endgeneration %}{% endmacro %}{{ m() }}"
    #expect(try rendered(inside).get().generationRanges == nil)
  }

  @Test func saysWhereAndWhy() throws {
    let expected: [(String, TemplateError)] = [
      ("a\n{{ 1 +\n }}", TemplateError(.syntax, line: 3, "'}}' where an expression was expected")),
      (
        "\n\n{% if x %}",
        TemplateError(.syntax, line: 3, "the template ends where 'elif' or 'else' or 'endif' was expected")
      ),
      ("\n{{ x.y.z }}", TemplateError(.failure, line: 2, "'x' is undefined")),
      ("\n\n{{ raise_exception('No ' ~ 'tools') }}", TemplateError(.raised, line: 3, "No tools")),
      ("{{ 1|pprint }}", TemplateError(.unsupported, line: 1, "the filter 'pprint'")),
      ("{% include 'x' %}", TemplateError(.unsupported, line: 1, "the tag 'include'")),
      (
        "{{ [].append(1) }}",
        TemplateError(.failure, line: 1, "the method 'append' of a list is forbidden, since it changes it")
      ),
    ]
    for (template, error) in expected {
      #expect(throws: error, "\(template)") { _ = try rendered(template).get() }
    }
    #expect(
      TemplateError(.raised, line: 3, "No tools").description
        == "the chat template refuses the conversation (line 3): No tools")
  }
}
