import Storage

/// Answers each request with a file of a page, by one of the routes, or with an error: what all servers of the program
/// have in common.
package struct Router<Service: Sendable>: Sendable {
  private let routes: [Route<Service>]
  private let page: @Sendable (_ path: String) -> PageFile?
  private let policy: AccessPolicy
  private let count: @Sendable (_ route: String, _ status: Int) -> Void

  /// - Parameters:
  ///   - page: the page's file at a path; it needs no key, since the page asks for one itself.
  ///   - count: called once for each request when its status is known; `route` is the path of a route, or "other".
  package init(
    _ routes: [Route<Service>], page: @escaping @Sendable (_ path: String) -> PageFile?, policy: AccessPolicy,
    count: @escaping @Sendable (_ route: String, _ status: Int) -> Void = { _, _ in }
  ) {
    self.routes = routes
    self.page = page
    self.policy = policy
    self.count = count
  }

  /// Answers a request, now or later.
  package func handle(
    _ received: Result<HTTPRequest, HTTPRefusal>, for service: Service, _ sink: any ResponseSink
  ) {
    var headers = [
      (name: "x-request-id", value: "req_" + randomName()), (name: "Cache-Control", value: "no-cache"),
      (name: "X-Content-Type-Options", value: "nosniff"),
    ]
    switch received {
    case .failure(let refusal):
      Reply(sink, headers: headers) { [count] in count("other", $0) }.fail(APIError(refusal))
    case .success(var request):
      request.path = originPath(request.path)
      headers += policy.crossOriginHeaders(request)
      let path = normalizedPath(request.path)
      let found = routes.lazy.compactMap { route in route.values(in: path).map { (route, $0) } }.first
      let reply = Reply(sink, headers: headers, style: found?.0.style ?? .openAI) { [count] in
        count(found?.0.path ?? "other", $0)
      }
      do throws(APIError) {
        try answer(request, found, for: service, reply)
      } catch {
        reply.fail(error)
      }
    }
  }

  private func answer(
    _ request: HTTPRequest, _ found: (route: Route<Service>, values: [String])?, for service: Service, _ reply: Reply
  ) throws(APIError) {
    if let refusal = policy.refusal(of: request) { throw refusal }
    if request.method == "OPTIONS" { return reply.send(HTTPResponse(status: 204)) }
    if ["GET", "HEAD"].contains(request.method), let file = page(request.path) { return reply.send(file.response) }
    guard let (route, values) = found else { throw .unknownPath(routes.map(\.path)) }
    guard route.method == (request.method == "HEAD" ? "GET" : request.method) else {
      throw APIError(
        status: 405, kind: .invalidRequest, message: "This path accepts \(route.method) requests only.",
        allowedMethods: route.method + ", OPTIONS")
    }
    guard route.isOpen || policy.hasKey(request) else {
      throw APIError(
        status: 401, kind: .authentication, message: "The API key is missing or wrong.", code: "invalid_api_key")
    }
    if let coding = request.headers["content-encoding"], coding.lowercased() != "identity" {
      throw APIError(
        status: 415, kind: .invalidRequest,
        message: "The body has the Content-Encoding \(JSON.quoted(String(coding.prefix(40)))); send it without one.")
    }
    try route.answer(service, request, values, reply)
  }
}

extension APIError {
  fileprivate init(_ refusal: HTTPRefusal) {
    switch refusal {
    case .bodyTooLarge(let limit):
      self.init(
        status: 413, kind: .invalidRequest, message: "The body has more than \(limit) bytes.",
        code: "request_too_large")
    case .ambiguous(let reason):
      self.init(status: 400, kind: .invalidRequest, message: reason, code: "malformed_request")
    case .overloaded:
      self.init(
        status: 503, kind: .server, message: "Too many large requests at once. Try again later.", code: "overloaded",
        retryAfterSeconds: 1)
    }
  }
}
