import Foundation
import Storage
import Templates
import TestSupport
import Testing

@Suite struct TemplateLimitTests {
  /// Templates that would run for ever, or ask for more memory than there is.
  static let greedy = [
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{{ b }}{% endfor %}{% endfor %}",
    "{{ 'x' * 10000000000 }}", "{{ [1] * 10000000000 }}", "{{ 'x'.center(10000000000) }}", "{{ '%10000000000d' % 1 }}",
    "{{ 'x'.ljust(9999999999) }}", "{{ '{:9999999999}'.format(1) }}", "{{ 'a\nb'|indent(9999999999) }}",
    "{{ [1]|tojson(indent=9999999999) }}", "{{ 'xx'.replace('', 'y' * 20000000) }}",
    "{{ [1]|batch(9999999999, 0)|list }}",
    "{{ [1]|slice(9999999999)|list }}", "{{ 10 ** 10 ** 10 }}", "{{ 'x'.zfill(9999999999) }}",
    "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x|replace('a', n.x) %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
    "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}",
    "{% set n = namespace(x=(1,)) %}{% for i in range(90) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}",
    "{% for i in range(3) recursive %}{{ loop(range(3)) }}{% endfor %}",
  ]

  @Test func refusesWhatAsksForTooMuch() {
    var limits = TemplateLimits()
    limits.steps = 500_000
    for template in Self.greedy {
      switch rendered(template, [], limits) {
      case .success: Issue.record("rendered: \(template)")
      case .failure(let error):
        #expect(error.kind == .limit || error.kind == .failure, "\(template): \(error)")
        #expect(!error.reason.contains("\n"))
      }
    }
  }

  @Test func freesWhatRefersToItself() {
    let template = """
      {% set n = namespace(x=none) %}{% set n.x = n %}{% for i in range(50000) %}{% set n.x = namespace(x=n.x) %}{% endfor %}\
      {% macro m() %}{{ m is defined }}{% endmacro %}{{ m() }}
      """
    #expect(throws: Never.self) { try rendered(template).get() }
  }

  /// Templates as deep as they may be, in each way of nesting.
  static var deep: [String] {
    let levels = [10, 50, 59, 60, 100, 1000, 5000]
    let wraps: [(String, String, String)] = [
      ("{{ ", "(", ")"), ("{{ ", "[", "]"), ("{{ ", "-", ""), ("{{ ", "not ", ""), ("{{ ", "f(", ")"),
      ("{{ ", "{1: ", "}"),
      ("{{ ", "1 if 1 else ", ""), ("{{ ", "x[", "]"), ("{{ ", "1 + (", ")"), ("{{ ", "", "|list"), ("{{ ", "", ".a"),
      ("{{ ", "", " + 1"), ("{{ ", "", " is defined"), ("{{ ", "[x|default(", ")]"), ("{{ ", "", "(1)"),
      ("{{ ", "'a' ~ (", ")"),
    ]
    return levels.flatMap { count -> [String] in
      let times = { (text: String) in String(repeating: text, count: count) }
      return wraps.map { $0.0 + times($0.1) + "1" + times($0.2) + " }}" } + [
        times("{% if 1 %}") + "x" + times("{% endif %}"),
        times("{% for i in [1] %}") + "x" + times("{% endfor %}"),
        times("{% macro m() %}") + "x" + times("{% endmacro %}"),
        times("{% set x %}") + "x" + times("{% endset %}"),
        times("{% filter upper %}") + "x" + times("{% endfilter %}"),
        "{% macro m(n) %}{% if n %}{% for i in [1] %}{{ '[' ~ (m(n - 1)|upper|trim) ~ ']' }}{% endfor %}{% endif %}{% endmacro %}{{ m(\(count)) }}",
        "{% macro m(n) %}{% if n %}{% call m(n - 1) %}{{ n }}{% endcall %}{% endif %}{% endmacro %}{{ m(\(count)) }}",
        "{% macro m(n, d=none) %}{{ m(n - 1, d=[n, n]|map('string')|list) if n }}{% endmacro %}{{ m(\(count)) }}",
        "{% for i in [\(count)] recursive %}{% if i %}{{ loop([i - 1]) }}{% endif %}{% endfor %}",
        "{% macro m(n) %}{% for i in [n]|map('int') if i and m(i - 1) is string %}{{ i }}{% endfor %}{% endmacro %}{{ m(\(count)) }}",
      ]
    }
  }

  /// The threads of a server have small stacks.
  @Test func fitsIntoASmallStack() {
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
      for template in Self.deep {
        if case .failure(let error) = rendered(template) {
          #expect(error.kind != .unsupported, "\(template.prefix(99))")
        }
      }
      done.signal()
    }
    thread.stackSize = 512 << 10
    thread.start()
    done.wait()
  }

  /// Templates of the cases with faults, each rendered within few steps: refused or rendered, never a trap or a hang.
  @Test func survivesDamagedTemplates() {
    var generator = SeededGenerator(seed: 17)
    var limits = TemplateLimits()
    (limits.steps, limits.writes) = (100_000, 1 << 20)
    let cases = TemplateCases.all.cases
    var renderedCount = 0
    for _ in 0..<6000 {
      let (first, second) = (cases.randomElement(using: &generator)!, cases.randomElement(using: &generator)!)
      let bytes = damaged(Array((first.template + second.template).utf8), using: &generator)
      if case .success = rendered(String(decoding: bytes, as: UTF8.self), TemplateCases.all.values, limits) {
        renderedCount += 1
      }
    }
    #expect(renderedCount > 100)
  }
}
