/// An expression of a template.
final class TemplateExpression: Sendable {
  indirect enum Kind: Sendable {
    case constant(TemplateConstant)
    case name(String)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case dictionary([(key: TemplateExpression, value: TemplateExpression)])
    /// `object.name`
    case attribute(TemplateExpression, String)
    /// `object[key]`
    case item(TemplateExpression, TemplateExpression)
    /// `object[start:stop:step]`
    case slice(TemplateExpression, start: TemplateExpression?, stop: TemplateExpression?, step: TemplateExpression?)
    case call(TemplateExpression, TemplateArguments)
    /// A filter; without an input inside a `{% filter %}` or `{% set %}` block, whose text it takes.
    case filter(TemplateExpression?, name: String, TemplateArguments)
    case test(TemplateExpression, name: String, TemplateArguments)
    case not(TemplateExpression)
    case negative(TemplateExpression)
    case positive(TemplateExpression)
    case arithmetic(String, TemplateExpression, TemplateExpression)
    case concatenation([TemplateExpression])
    case comparison(TemplateExpression, [(operation: String, operand: TemplateExpression)])
    case all([TemplateExpression])
    case any([TemplateExpression])
    case conditional(test: TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
  }

  let kind: Kind
  let line: Int
  init(_ kind: Kind, line: Int) {
    self.kind = kind
    self.line = line
  }
}

enum TemplateConstant: Sendable {
  case none
  case bool(Bool)
  case integer(Int)
  case float(Double)
  case string(TemplateText)
}

/// The arguments of a call, filter or test.
struct TemplateArguments: Sendable {
  var positional: [TemplateExpression] = []
  var named: [(name: String, value: TemplateExpression)] = []
  /// `*expression`
  var spread: TemplateExpression?
  /// `**expression`
  var namedSpread: TemplateExpression?
}

/// What an assignment or a loop fills.
indirect enum TemplateTarget: Sendable {
  case name(String)
  case attribute(namespace: String, name: String)
  case tuple([TemplateTarget])
}

/// A statement of a template.
struct TemplateStatement: Sendable {
  indirect enum Kind: Sendable {
    case text(TemplateText)
    case output(TemplateExpression)
    case assignment(TemplateTarget, TemplateExpression)
    case assignmentBlock(TemplateTarget, filter: TemplateExpression?, [TemplateStatement])
    case conditional([(test: TemplateExpression, body: [TemplateStatement])], otherwise: [TemplateStatement])
    case loop(TemplateLoop)
    case macro(TemplateMacro)
    case callBlock(TemplateMacro, call: TemplateExpression)
    case filterBlock(TemplateExpression, [TemplateStatement])
    case with([(target: TemplateTarget, value: TemplateExpression)], [TemplateStatement])
    case generation([TemplateStatement])
    case breakLoop
    case continueLoop
  }

  let kind: Kind
  let line: Int
}

struct TemplateLoop: Sendable {
  var target: TemplateTarget
  var sequence: TemplateExpression
  var filter: TemplateExpression?
  var isRecursive: Bool
  var body: [TemplateStatement]
  var otherwise: [TemplateStatement]
}

struct TemplateMacro: Sendable {
  /// nil for the body of a `{% call %}`.
  var name: String?
  var parameters: [String]
  /// Of the last parameters.
  var defaults: [TemplateExpression]
  var body: [TemplateStatement]
  /// Which of `varargs`, `kwargs` and `caller` the body names.
  var specials: Set<String>
}
