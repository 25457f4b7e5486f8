import Foundation
import Inference
import Storage
import StructuredOutput
import Synchronization
import Tokenization

/// A model that clients of OpenAI's API can use.
package final class ModelServer: Sendable {
  /// What is served.
  package struct Model: Sendable {
    /// By which clients know it.
    package var name: String
    package var tokenizer: Tokenizer
    /// How conversations become text; or why this model only continues texts, for clients to read.
    package var template: Result<ChatTemplate, any Error>
    package var contextLength: Int
    package var hiddenSize: Int
    /// Tokens with which the model ends a text.
    package var endTokens: [Int32]
    /// Changes with anything that changes answers.
    package var fingerprint: String

    package init(
      name: String, tokenizer: Tokenizer, template: Result<ChatTemplate, any Error>, contextLength: Int,
      hiddenSize: Int, endTokens: [Int32], fingerprint: String
    ) {
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
  /// The tokens by their bytes, for answers that must have a form.
  private let vocabulary: TokenVocabulary
  let metrics = ServingMetrics()
  private let policy: AccessPolicy
  /// Whether a request must name the model rightly.
  private let isNameStrict: Bool
  /// Parts of one request that run or wait at the same time.
  private let width: Int
  private let created = Int(Date().timeIntervalSince1970)
  private let stopping = Atomic<Bool>(false)

  package init(
    _ model: Model, _ scheduler: BatchScheduler, policy: AccessPolicy, isNameStrict: Bool = false, width: Int
  ) {
    self.model = model
    self.scheduler = scheduler
    vocabulary = TokenVocabulary(model.tokenizer, endTokens: model.endTokens)
    self.policy = policy
    self.isNameStrict = isNameStrict
    self.width = width
  }

  /// Takes no new work, and lets what there is come to its end for some seconds.
  package func stop(waitingFor seconds: Double) {
    stopping.store(true, ordering: .relaxed)
    scheduler.stop(waitingFor: seconds)
  }

  var isStopping: Bool { stopping.load(ordering: .relaxed) }

  /// Answers a request, now or later.
  package func handle(_ received: Result<HTTPRequest, HTTPRefusal>, _ exchange: HTTPExchange) {
    var headers = [
      (name: "x-request-id", value: "req_" + randomName()), (name: "Cache-Control", value: "no-cache"),
      (name: "X-Content-Type-Options", value: "nosniff"),
    ]
    switch received {
    case .failure(let refusal):
      Reply(exchange, route: "other", headers: headers, metrics: metrics).fail(Self.error(refusal))
    case .success(let request):
      headers += policy.crossOriginHeaders(request)
      let path = Route.normalized(request.path)
      let route = Route.all.first { $0.matches(path) }
      let reply = Reply(exchange, route: route?.name ?? "other", headers: headers, metrics: metrics)
      do throws(APIError) {
        if let refusal = policy.refusal(of: request) { throw refusal }
        if request.method == "OPTIONS" { return reply.send(HTTPResponse(status: 204)) }
        if ["GET", "HEAD"].contains(request.method), let page = Self.page(request.path) { return reply.send(page) }
        guard let route else {
          throw APIError(status: 404, kind: .notFound, message: "There is nothing at this path.", code: "unknown_url")
        }
        guard route.method == (request.method == "HEAD" ? "GET" : request.method) else {
          throw APIError(
            status: 405, kind: .invalidRequest, message: "This path takes \(route.method) requests only.",
            allowedMethods: route.method + ", OPTIONS")
        }
        guard route.isOpen || policy.hasKey(request) else {
          throw APIError(
            status: 401, kind: .authentication, message: "The API key is missing or wrong.", code: "invalid_api_key")
        }
        try route.answer(self, request, path, reply)
      } catch {
        reply.fail(error)
      }
    }
  }

  /// A file of the web page; it needs no key, as it asks for one itself.
  private static func page(_ path: String) -> HTTPResponse? {
    guard let file = Page.file(path) else { return nil }
    var response = HTTPResponse(contentType: file.contentType, body: file.bytes)
    response.add("Content-Security-Policy", Page.contentSecurityPolicy)
    response.add("Referrer-Policy", "no-referrer")
    return response
  }

  private static func error(_ refusal: HTTPRefusal) -> APIError {
    switch refusal {
    case .bodyTooLarge(let limit):
      APIError(
        status: 413, kind: .invalidRequest, message: "The body has more than \(limit) bytes.",
        code: "request_too_large")
    case .ambiguous(let reason):
      APIError(status: 400, kind: .invalidRequest, message: reason, code: "malformed_request")
    case .overloaded:
      APIError(
        status: 503, kind: .server, message: "Too many large requests at once. Try again later.", code: "overloaded",
        retryAfterSeconds: 1)
    }
  }

  // MARK: - Routes

  func generate(_ fields: RequestFields, _ kind: AnswerKind, _ reply: Reply) throws(APIError) {
    let call =
      switch kind {
      case .chat: try GenerationCall(chat: fields, reader, model.template, vocabulary)
      case .completion: try GenerationCall(completion: fields, reader)
      }
    let format = AnswerFormat(
      call, tokenizer: model.tokenizer, created: Int(Date().timeIntervalSince1970), model: model.name,
      fingerprint: model.fingerprint)
    let answer = Answer(call, format, reply)
    try run(call.parts, reply, onFailure: answer.fail) { [scheduler] part, continues, ended in
      try scheduler.submit(call.request(part), continues: continues) { event in
        answer.take(event, choice: part)
        if case .end = event { ended() }
      }
    }
    answer.begin()
  }

  func embed(_ fields: RequestFields, _ reply: Reply) throws(APIError) {
    let call = try EmbeddingCall(fields, reader, hiddenSize: model.hiddenSize)
    let answer = EmbeddingAnswer(call, model: model.name, reply)
    try run(call.inputs.count, reply, onFailure: answer.fail) { [scheduler] part, continues, ended in
      try scheduler.embed(call.inputs[part].tokens, continues: continues) { vector in
        answer.take(vector, index: part)
        ended()
      }
    }
  }

  /// Runs the parts of a request until they end or the client goes.
  private func run(
    _ count: Int, _ reply: Reply, onFailure: @escaping @Sendable (APIError) -> Void,
    start:
      @escaping @Sendable (
        _ part: Int, _ continues: Bool, _ ended: @escaping @Sendable () -> Void
      ) throws -> GenerationHandle
  ) throws(APIError) {
    let parts = Parts(count: count, width: width) { parts, part, continues in
      try start(part, continues) {
        do { try parts.ended(part) } catch { onFailure(Self.error(error)) }
      }
    }
    do { try parts.begin() } catch { throw Self.error(error) }
    reply.onDisconnect { parts.cancel() }
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

  var reader: TextInputReader { TextInputReader(tokenizer: model.tokenizer, contextLength: model.contextLength) }

  var description: JSON {
    .object([
      .init("id", .string(model.name)), .init("object", .string("model")), .init("created", .integer(created)),
      .init("owned_by", .string("minimind")), .init("context_length", .integer(model.contextLength)),
    ])
  }

  /// - Throws: `APIError` when the name is not the model's and names matter.
  func check(modelName: String?) throws(APIError) {
    guard isNameStrict, modelName != model.name else { return }
    throw unknownModel
  }

  var unknownModel: APIError {
    APIError(
      status: 404, kind: .notFound, message: "There is no such model; this server has \(JSON.quoted(model.name)).",
      parameter: "model", code: "model_not_found")
  }
}
