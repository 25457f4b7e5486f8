import Storage
import Templates

/// What a chat template writes around the result of a tool: after the answer that calls it, and up to the place where the model
/// goes on.
///
/// The tokens of the answer stay as the model has chosen them. Rendering the whole conversation again could spell them otherwise,
/// and then what is learned would stand elsewhere than what was written.
package struct ToolTurn: Sendable, Equatable {
  /// Begins with the token that ends an answer.
  package let before: String
  package let after: String

  package init(before: String, after: String) {
    self.before = before
    self.after = after
  }

  /// The tokens that follow an answer and the token that has ended it.
  ///
  /// - Parameter result: of the tools that it has called; as content it has no control tokens.
  /// - Throws: `TokenizerError` for a text on which the tokenizer's split pattern would take for ever.
  package func tokens(_ result: String, _ tokenizer: Tokenizer) throws(TokenizerError) -> [Int32] {
    let pieces: [RenderedText.Piece] = [
      .init(text: before, isContent: false), .init(text: result, isContent: true), .init(text: after, isContent: false),
    ]
    return Array(try tokenizer.encode(pieces.filter { !$0.text.isEmpty }).dropFirst())
  }
}

extension ChatTemplate {
  /// How the template goes on after an answer that has called a tool.
  ///
  /// - Parameter messages: up to the question.
  /// - Throws: `TokenizerError` where the template has no place for results of tools, or does not end an answer before them by
  ///   the tokenizer's end token; `TemplateError` when it refuses the conversation.
  package func toolTurn(after messages: [ChatMessage], tools: [JSON], with tokenizer: Tokenizer) throws -> ToolTurn {
    let (answer, result) = ("minimind:answer", "minimind:result")
    func failure(_ what: String) -> TokenizerError {
      TokenizerError(
        "the chat template \(what), so tools cannot be run between answers. "
          + "Make a tokenizer with: minimind tokenizer train --template minimind-3")
    }
    guard let jinja, jinja.knowsTools else { throw failure("has no place for tools") }
    let both = [ChatMessage(role: .assistant, content: answer), ChatMessage(role: .tool, content: result)]
    let text = try rendered(messages + both, tools: tools, [], addGenerationPrompt: true).text
    guard let first = text.ranges(of: answer).last, let second = text[first.upperBound...].firstRange(of: result) else {
      throw failure("has no place for results of tools")
    }
    let turn = ToolTurn(
      before: String(text[first.upperBound..<second.lowerBound]), after: String(text[second.upperBound...]))
    guard try tokenizer.encode(turn.before).first == tokenizer.endToken else {
      throw failure("does not end an answer before a result")
    }
    return turn
  }
}
