import Generation
import StructuredOutput
import Tokenization

/// What an answer is to be: text, JSON, or calls of tools.
struct AnswerForm {
  /// Functions that the answer may call.
  var tools: [Tool]
  /// What the text may be; nil for anything.
  var constraint: (any TokenConstraint)?

  /// Reads `response_format`, `tools`, `tool_choice` and `parallel_tool_calls`. A call that must be made takes
  /// precedence over a format.
  init(_ fields: RequestFields, _ vocabulary: TokenVocabulary) throws(APIError) {
    let allowsSeveralCalls = try fields.bool("parallel_tool_calls") ?? true
    do throws(StructuredOutputError) {
      let all = try Tool.list(fields["tools"])
      let choice = try ToolChoice(fields["tool_choice"], tools: all)
      let format = try ResponseFormat(fields["response_format"])
      tools = choice == .none ? [] : all
      constraint = try choice.constraint(all, vocabulary)
      if constraint == nil { constraint = try format.constraint(vocabulary) }
      if constraint == nil && tools.contains(where: \.isStrict) {
        constraint = try StrictCallConstraint(tools, vocabulary: vocabulary, allowsSeveralCalls: allowsSeveralCalls)
      } else if constraint == nil && !tools.isEmpty && !allowsSeveralCalls {
        constraint = OneCallConstraint(tools, vocabulary: vocabulary)
      }
    } catch {
      throw APIError.invalid(error)
    }
  }

  /// The conversation with a message that describes the tools to the model.
  func instructing(_ messages: [ChatMessage]) -> [ChatMessage] {
    if tools.isEmpty { return messages }
    var messages = messages
    let text = ToolText.instructions(tools)
    if messages.first?.role == .system {
      messages[0].content += "\n\n" + text
    } else {
      messages.insert(ChatMessage(role: .system, content: text), at: 0)
    }
    return messages
  }
}
