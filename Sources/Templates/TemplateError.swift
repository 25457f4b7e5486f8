/// Why a chat template cannot be read or rendered, and in which of its lines.
package struct TemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  package enum Kind: Sendable, Equatable {
    /// The template is not Jinja as `transformers` reads it.
    case syntax
    /// What the template does fails, as it would in Python.
    case failure
    /// The template itself refuses the conversation, by `raise_exception`.
    case raised
    /// More steps, depth, text or memory than a template may use.
    case limit
    /// Jinja has it; this program does not.
    case unsupported
  }

  package var kind: Kind
  /// From 1.
  package var line: Int
  package var reason: String

  package init(_ kind: Kind, line: Int, _ reason: String) {
    self.kind = kind
    self.line = line
    self.reason = reason
  }

  package var description: String {
    switch kind {
    case .raised: "the chat template refuses the conversation (line \(line)): \(reason)"
    case .unsupported: "the chat template uses, in line \(line), \(reason), which is not supported"
    default: "the chat template fails in line \(line): \(reason)"
    }
  }
}

/// What rendering may use. A template that wants more is refused.
package struct TemplateLimits: Sendable {
  /// Expressions and statements evaluated, items of lists included.
  package var steps = 4_000_000
  /// Code points written to any text during the rendering, whether kept or not, an item of a list counting as four: this
  /// bounds both the memory, at about 16 bytes each, and the time.
  package var writes = 1 << 24
  /// Code points of the result.
  package var output = 1 << 22
  /// Evaluations within each other; a rendering within it fits into a stack of 512 KiB.
  package var depth = 300

  package init() {}
}

/// A rendered conversation.
package struct RenderedText: Sendable, Equatable {
  /// A part of the text.
  package struct Piece: Sendable, Equatable {
    package var text: String
    /// Whether it comes from a value, such as what a user typed, and not from the template.
    package var isContent: Bool
    package init(text: String, isContent: Bool) {
      self.text = text
      self.isContent = isContent
    }
  }

  /// The text in order, in pieces of one origin each, none of them empty.
  package var pieces: [Piece]
  /// What `{% generation %}` blocks wrote, in order, in code points of the text; nil when one of them stands inside a macro
  /// or another block that is written elsewhere, so that its place is not known.
  package var generationRanges: [Range<Int>]?

  package init(pieces: [Piece], generationRanges: [Range<Int>]? = []) {
    self.pieces = pieces
    self.generationRanges = generationRanges
  }

  /// The whole text.
  package var text: String { pieces.map(\.text).joined() }
}
