import Foundation
import Generation
import Storage
import StructuredOutput
import Synchronization
import Tokenization
import Vision

/// A model that clients of OpenAI's API can use.
package final class ModelServer: Sendable {
  /// What is served.
  package struct Model: Sendable {
    /// The name by which clients know it.
    package var name: String
    package var tokenizer: Tokenizer
    /// How conversations become text; or why this model only continues texts, in a sentence for clients.
    package var template: Result<ChatTemplate, any Error>
    package var contextLength: Int
    package var hiddenSize: Int
    /// Tokens with which the model ends a text.
    package var endTokens: [Int32]
    /// What requests leave out.
    package var defaults: GenerationDefaults
    /// Whether the oldest turns of a conversation that is too long are left out, where a request does not say.
    package var shortensConversations: Bool
    /// Nil for a model that reads text only.
    package var sight: Sight?
    /// What gets pictures that are named by their addresses; nil where only those in requests are looked at.
    package var fetcher: PictureFetcher?
    /// Changes with anything that changes answers.
    package var fingerprint: String

    /// Whether a request can turn thinking on and off.
    var thinks: Bool {
      guard case .success(let template) = template, let jinja = template.jinja else { return false }
      return TemplateRequest.switches.contains(where: jinja.mentions)
    }

    package init(
      name: String, tokenizer: Tokenizer, template: Result<ChatTemplate, any Error>, contextLength: Int,
      hiddenSize: Int, endTokens: [Int32], defaults: GenerationDefaults = GenerationDefaults(),
      shortensConversations: Bool = false, sight: Sight? = nil, fetcher: PictureFetcher? = nil, fingerprint: String
    ) {
      self.sight = sight
      self.fetcher = fetcher
      self.shortensConversations = shortensConversations
      self.defaults = defaults
      self.name = name
      self.tokenizer = tokenizer
      self.template = template
      self.contextLength = contextLength
      self.hiddenSize = hiddenSize
      self.endTokens = endTokens
      self.fingerprint = fingerprint
    }
  }

  let model: Model
  let scheduler: BatchScheduler
  /// The tokens by their bytes, for answers that must follow a grammar.
  private let vocabulary: TokenVocabulary
  let metrics: ServingMetrics
  private let router: Router<ModelServer>
  /// Whether a request must name this model.
  private let isNameStrict: Bool
  /// Generations of one request that run or wait at the same time.
  let width: Int
  private let created = Int(Date().timeIntervalSince1970)
  private let stopping = Atomic<Bool>(false)
  /// Where pictures are encoded, one after another: the thread that receives requests has other clients to serve.
  let pictureQueue = DispatchQueue(label: "pictures")
  /// Where pictures are fetched, which is mostly waiting: those of some requests at a time.
  let fetchQueue = {
    let queue = OperationQueue()
    queue.maxConcurrentOperationCount = 8
    return queue
  }()

  package init(
    _ model: Model, _ scheduler: BatchScheduler, policy: AccessPolicy, isNameStrict: Bool = false, width: Int
  ) {
    self.model = model
    self.scheduler = scheduler
    vocabulary = TokenVocabulary(model.tokenizer, endTokens: model.endTokens)
    let metrics = ServingMetrics()
    self.metrics = metrics
    router = Router(Self.routes, page: Page.file, policy: policy) { metrics.countRequest(route: $0, status: $1) }
    self.isNameStrict = isNameStrict
    self.width = width
  }

  /// Accepts no new work, and gives current work some seconds to end.
  package func stop(waitingFor seconds: Double) {
    stopping.store(true, ordering: .relaxed)
    scheduler.stop(waitingFor: seconds)
  }

  var isStopping: Bool { stopping.load(ordering: .relaxed) }

  /// Answers a request, now or later.
  package func handle(_ received: Result<HTTPRequest, HTTPRefusal>, _ sink: any ResponseSink) {
    router.handle(received, for: self, sink)
  }

  // MARK: - For the routes

  func generate(_ fields: RequestFields, _ kind: AnswerKind, _ reply: Reply) throws(APIError) {
    let call =
      switch kind {
      case .chat: try chatCall(fields)
      case .completion: try completionCall(fields)
      }
    let format = OpenAIFormat(
      call, tokenizer: model.tokenizer, created: Int(Date().timeIntervalSince1970), model: model.name,
      fingerprint: model.fingerprint)
    try answer(call, format, reply)
  }

  func chatCall(_ fields: RequestFields) throws(APIError) -> GenerationCall {
    try GenerationCall(chat: fields, reader, model.template, vocabulary)
  }

  func completionCall(_ fields: RequestFields) throws(APIError) -> GenerationCall {
    try GenerationCall(completion: fields, reader, vocabulary)
  }

  /// A conversation as the model reads it, however long it is.
  func prompt(_ fields: RequestFields) throws(APIError) -> [Int32] {
    try ConversationPrompt(fields, reader, model.template, vocabulary, isLimited: false).tokens
  }

  func answer(_ call: GenerationCall, _ format: any AnswerFormat, _ reply: Reply) throws(APIError) {
    guard !call.pictures.isEmpty, let sight = model.sight else { return try start(call, format, reply) }
    withPictures(of: call, sight, reply) { [self] call throws(APIError) in try start(call, format, reply) }
  }

  private func start(_ call: GenerationCall, _ format: any AnswerFormat, _ reply: Reply) throws(APIError) {
    if call.droppedMessages > 0 { reply.add("x-dropped-messages", String(call.droppedMessages)) }
    let answer = Answer(call, format, model.tokenizer, reply, metrics)
    try run(call.parts, reply, onFailure: answer.fail) { [scheduler] part, continues, ended in
      try scheduler.submit(call.request(part), continues: continues) { event in
        answer.receive(event, choice: part)
        if case .end = event { ended() }
      }
    }
    answer.begin()
  }

  /// - Parameter write: makes the answer of the embeddings and the number of tokens in all texts.
  func embed(
    _ fields: RequestFields, _ reply: Reply, write: @escaping @Sendable (_ data: [JSON], _ tokens: Int) -> JSON
  ) throws(APIError) {
    let call = try EmbeddingCall(fields, reader, hiddenSize: model.hiddenSize)
    let answer = EmbeddingAnswer(call, reply, write)
    try run(call.inputs.count, reply, onFailure: answer.fail) { [scheduler] part, continues, ended in
      try scheduler.embed(call.inputs[part].tokens, continues: continues) { vector in
        answer.receive(vector, index: part)
        ended()
      }
    }
  }

  /// Runs the generations or embeddings of a request until they end or the client goes.
  private func run(
    _ count: Int, _ reply: Reply, onFailure: @escaping @Sendable (APIError) -> Void,
    start:
      @escaping @Sendable (
        _ part: Int, _ continues: Bool, _ ended: @escaping @Sendable () -> Void
      ) throws -> GenerationHandle
  ) throws(APIError) {
    let runner = PartRunner(count: count, width: width) { runner, part, continues in
      try start(part, continues) {
        do { try runner.ended(part) } catch { onFailure(Self.error(error)) }
      }
    }
    do { try runner.begin() } catch { throw Self.error(error) }
    reply.onDisconnect { runner.cancel() }
  }

  private static func error(_ error: any Error) -> APIError {
    switch error as? SchedulerError {
    case .queueFull(let seconds)?:
      APIError(
        status: 429, kind: .rateLimit, message: "Too many requests wait already. Try again in \(seconds) s.",
        code: "rate_limit_exceeded", retryAfterSeconds: seconds)
    default: .stopping
    }
  }

  var reader: TextInputReader {
    TextInputReader(
      tokenizer: model.tokenizer, contextLength: model.contextLength, defaults: model.defaults,
      shortens: model.shortensConversations, placeholder: model.sight?.placeholder ?? [],
      fetchesPictures: model.fetcher != nil)
  }

  var description: JSON {
    .object([
      .init("id", .string(model.name)), .init("object", .string("model")), .init("created", .integer(created)),
      .init("owned_by", .string("minimind")), .init("context_length", .integer(model.contextLength)),
      .init("max_model_len", .integer(model.contextLength)),
      .init("end_tokens", .array(model.endTokens.map { .integer(Int($0)) })),
      .init("default_sampling", model.defaults.json), .init("thinking", .bool(model.thinks)),
      .init("vision", .bool(model.sight != nil)),
    ])
  }

  /// - Throws: `APIError` if names matter and this one is not the model's.
  func check(modelName: String?) throws(APIError) {
    // Ollama's clients add a tag.
    guard isNameStrict, modelName != model.name, modelName != model.name + ":latest" else { return }
    throw unknownModel
  }

  var unknownModel: APIError {
    APIError(
      status: 404, kind: .notFound, message: "There is no such model; this server has \(JSON.quoted(model.name)).",
      parameter: "model", code: "model_not_found")
  }
}

extension GenerationDefaults {
  /// By the names of a request's fields.
  var json: JSON {
    func number(_ value: Float) -> JSON { .number(Double("\(value)") ?? Double(value)) }
    return .object([
      .init("temperature", number(sampling.temperature)), .init("top_k", .integer(sampling.topK)),
      .init("top_p", number(sampling.topP)), .init("min_p", number(sampling.minP)),
      .init("repetition_penalty", number(sampling.repetitionPenalty)),
      .init("max_tokens", maximumTokens.map { .integer($0) } ?? .null),
    ])
  }
}
