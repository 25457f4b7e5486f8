import Generation
import Storage
import StructuredOutput
import Tokenization

extension GenerationCall {
  /// A request to `/v1/chat/completions`.
  ///
  /// - Parameter template: the model's, or why there is none.
  package init(
    chat fields: RequestFields, _ reader: TextInputReader, _ template: Result<ChatTemplate, any Error>,
    _ vocabulary: TokenVocabulary
  ) throws(APIError) {
    try FieldTable.chat.check(fields)
    if try fields.bool("add_generation_prompt") == false, try fields.bool("continue_final_message") != true {
      throw APIError.unsupported(
        "add_generation_prompt", "'add_generation_prompt' is false only beside 'continue_final_message', which is true."
      )
    }
    let conversation = try ConversationPrompt(fields, reader, template, vocabulary)
    try self.init(fields, .chat, prompts: [TextInput(tokens: conversation.tokens)], defaults: reader.defaults)
    let wantsLogProbabilities = try fields.bool("logprobs") ?? false
    let top = try fields.integer("top_logprobs", in: 0...20)
    guard (top ?? 0) == 0 || wantsLogProbabilities else {
      throw APIError.invalid("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
    }
    pictures = conversation.pictures
    pictureTokens = conversation.pictureTokens
    tools = conversation.form.tools
    opensReasoning = conversation.opensReasoning
    droppedMessages = conversation.droppedMessages
    request.constraint = conversation.form.constraint
    request.thinking = try Self.thinking(fields, conversation, reader.tokenizer)
    request.topLogProbabilities = wantsLogProbabilities ? top ?? 0 : nil
    try readTokens(fields, reader.tokenizer)
    try checkSize(contextLength: reader.contextLength)
  }

  /// The budget of the reasoning, by our name or by those of vLLM and llama.cpp; -1 is no limit, as there.
  private static func thinking(
    _ fields: RequestFields, _ conversation: ConversationPrompt, _ tokenizer: Tokenizer
  ) throws(APIError) -> ThinkingBudget? {
    var most: Int?
    for name in budgetNames {
      guard let value = try fields.integer(name, in: -1...Int.max) else { continue }
      guard most == nil || most == value else {
        throw APIError.invalid(name, "'\(name)' contradicts another name of the budget of thinking; give one.")
      }
      most = value
    }
    guard let most, most >= 0 else { return nil }
    do {
      return try ThinkingBudget(maximumTokens: most, isOpen: conversation.opensReasoning, tokenizer)
    } catch { throw APIError.invalid("max_thinking_tokens", "\(error)") }
  }

  private static let budgetNames = [
    "max_thinking_tokens", "thinking_token_budget", "thinking_budget_tokens", "reasoning_budget_tokens",
  ]
}
