import Corpus
import ModelFiles
import Storage
import Tokenization

/// `minimind tokenizer render`: conversations as the tokenizer's chat template lays them out.
let tokenizerRenderCommand: Command = {
  let json = Option.flag("json", help: "Prints {\"text\": …, \"ids\": […]} for each line, instead of the text alone.")
  return lineCommand(
    "render",
    summary: "lays out each line, {\"messages\": […]}, by the tokenizer's chat template as transformers does; special "
      + "tokens in messages are recognised here, in chat, serve and data they never are",
    options: [json],
    example: "minimind tokenizer render --tokenizer my-tokenizer --input talks.jsonl --json"
  ) { invocation, tokenizer in
    let template = try ChatTemplate.jinja(TokenizerFiles(invocation[tokenizerOption]))
    let printsIDs = invocation[json]
    return { line in
      if line.withUnsafeBytes(RowReader.isBlank) { return "\n" }
      let text = try rendered(try line.withUnsafeBytes { try JSON(parsing: $0) }, template)
      guard printsIDs else { return text + "\n" }
      let ids = try tokenizer.encode(text).map { JSON.integer(Int($0)) }
      return JSON.object([.init("text", .string(text)), .init("ids", .array(ids))]).compactText + "\n"
    }
  }
}()

/// - Throws: `CommandError` for a line that is no conversation, `TemplateError` for one that the template refuses.
private func rendered(_ line: JSON, _ template: JinjaChatTemplate) throws -> String {
  guard case .object(var members) = line else {
    throw CommandError("an object is expected, as in: {\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}")
  }
  /// Takes out a member; null counts as absent.
  func take(_ name: String) -> JSON {
    defer { members.removeAll { $0.key == name } }
    return line[name] ?? .null
  }
  func objects(_ name: String, _ value: JSON) throws -> [JSON] {
    guard let list = value.arrayValue, list.allSatisfy({ if case .object = $0 { true } else { false } }) else {
      throw CommandError("\"\(name)\" is no list of objects.")
    }
    return list
  }
  let messages = try objects("messages", take("messages"))
  guard !messages.isEmpty else { throw CommandError("\"messages\" is empty, a conversation has at least one.") }
  let (tools, documents, prompt) = (take("tools"), take("documents"), take("add_generation_prompt"))
  for (name, value) in [("tools", tools), ("documents", documents)] where !value.isNull { _ = try objects(name, value) }
  guard prompt.isNull || prompt.boolValue != nil else {
    throw CommandError("\"add_generation_prompt\" is neither true nor false.")
  }
  // Of apply_chat_template, but not for the template.
  for name in ["continue_final_message", "chat_template"] where ![.null, .bool(false)].contains(take(name)) {
    throw CommandError("\"\(name)\" is not supported.")
  }
  return try template.render(
    messages, tools: tools, documents: documents, addGenerationPrompt: prompt.boolValue ?? false, members
  ).text
}
