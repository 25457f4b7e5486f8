import Generation
import StructuredOutput

extension GenerationCall {
  /// A request to `/v1/completions`.
  package init(
    completion fields: RequestFields, _ reader: TextInputReader, _ vocabulary: TokenVocabulary
  ) throws(APIError) {
    try FieldTable.completion.check(fields)
    let constraint = try AnswerForm.constraint(ofCompletion: fields, vocabulary)
    let echoes = try fields.bool("echo") ?? false
    let logProbabilities = try fields.integer("logprobs", in: 0...20)
    let prompts = try reader.read(fields, "prompt", specialTokens: .parsed, longest: reader.contextLength)
    try self.init(fields, .completion, prompts: prompts, defaults: reader.defaults)
    self.echoes = echoes
    request.constraint = constraint
    request.topLogProbabilities = logProbabilities
    request.reportsPromptLogProbabilities = echoes && logProbabilities != nil
    // The client measures texts: the list of tokens must be as long as was asked for, and an end token is one of them.
    if request.reportsPromptLogProbabilities { request.ignoresEndTokens = true }
    let count = count
    try fields.refuse(
      "best_of", unless: { $0.integerValue == count }, "each of the 'n' answers is returned as it was drawn.")
    try readTokens(fields, reader.tokenizer)
    try checkSize(contextLength: reader.contextLength)
  }
}
