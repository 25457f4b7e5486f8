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
    let layout: ChatTemplate
    switch template {
    case .success(let template): layout = template
    case .failure(let reason):
      throw APIError.invalid(nil, "This model only continues texts, at /v1/completions. \(reason)")
    }
    try Self.refuseForeignFields(fields)
    let form = try AnswerForm(fields, vocabulary)
    let isJSON = form.constraint is JSONConstraint
    let variables = try TemplateRequest(fields, layout, isJSON: isJSON).variables
    let messageReader = ChatMessageReader(template: layout)
    var messages = try messageReader.messages(fields)
    if !messageReader.knowsTools { messages = form.instructing(messages) }
    let tools = messageReader.knowsTools && !form.tools.isEmpty ? fields["tools"]?.arrayValue ?? [] : []
    let prompt: ChatPrompt
    do {
      prompt = try layout.prompt(messages, tools: tools, variables: variables, with: reader.tokenizer)
    } catch {
      throw APIError.invalid("messages", "\(error).")
    }
    let tokens = prompt.tokens
    guard tokens.count <= reader.contextLength else {
      throw APIError.contextLength(
        "messages", form.tools.isEmpty ? "messages has" : "messages and tools have", tokens: tokens.count,
        limit: reader.contextLength)
    }
    try self.init(fields, .chat, prompts: [TextInput(tokens: tokens)], defaults: reader.defaults)
    let wantsLogProbabilities = try fields.bool("logprobs") ?? false
    let top = try fields.integer("top_logprobs", in: 0...20)
    guard top == nil || wantsLogProbabilities else {
      throw APIError.invalid("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
    }
    self.tools = form.tools
    opensReasoning = prompt.opensReasoning && !isJSON
    request.constraint = form.constraint
    request.topLogProbabilities = wantsLogProbabilities ? top ?? 0 : nil
    try readLogitBias(fields, reader.tokenizer)
    try checkSize(contextLength: reader.contextLength)
  }

  private static func refuseForeignFields(_ fields: RequestFields) throws(APIError) {
    let isEmpty = { (value: JSON) in value.arrayValue?.isEmpty ?? false }
    try fields.refuse("functions", unless: isEmpty, "use 'tools'.")
    try fields.refuse("function_call", unless: { $0 == .string("none") }, "use 'tool_choice'.")
    try fields.refuse("modalities", unless: { $0 == .array([.string("text")]) }, "the model writes text only.")
    try fields.refuse("audio", unless: { _ in false }, "the model writes text only.")
    try fields.refuse("web_search_options", unless: { _ in false }, "the model knows only what it was trained on.")
    try fields.refuse("moderation", unless: { _ in false }, "requests and answers are not moderated.")
    try fields.refuse(
      "service_tier", unless: { [.string("auto"), .string("default")].contains($0) }, "all requests wait in one queue.")
    try fields.refuse("verbosity", unless: { $0 == .string("medium") }, "the model has one manner.")
  }
}
