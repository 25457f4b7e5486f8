import ModelFiles
import Storage
import Tokenization

/// Variables of a chat template, for the commands that lay out conversations.
enum TemplateOptions {
  static let variables = Option.optional(
    "chat-template-kwargs", "JSON",
    help: "Variables of the chat template as a JSON object, such as '{\"open_thinking\": true}'.")

  /// The chat template of the tokenizer in a model or directory, with the variables that are given.
  ///
  /// - Throws: `UsageError` for what is no object, or no variable of the template.
  static func template(_ invocation: Invocation, of directory: String) throws -> ChatTemplate {
    var template = try ChatTemplate(TokenizerFiles(directory))
    guard let text = invocation[variables] else { return template }
    guard let json = try? JSON(parsing: text), case .object(let members) = json else {
      throw UsageError("--\(variables.name) is no JSON object. Write it as in '{\"open_thinking\": true}'.")
    }
    for member in members where template.jinja?.mentions(member.key) != true {
      throw UsageError(
        "--\(variables.name): \(JSON.quoted(member.key)) is no variable of the chat template in \(directory).")
    }
    template.variables = members
    return template
  }
}
