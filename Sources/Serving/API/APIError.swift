import Storage
import StructuredOutput

/// Whose clients an answer is for.
package enum APIStyle: Sendable {
  case openAI, anthropic, ollama
}

/// Why a request is not answered as asked, in the form of OpenAI's API.
package struct APIError: Error, Equatable, Sendable {
  package enum Kind: String, Sendable {
    case invalidRequest = "invalid_request_error"
    case authentication = "authentication_error"
    case permission = "permission_error"
    case notFound = "not_found_error"
    case rateLimit = "rate_limit_error"
    case server = "server_error"
  }

  package var status: Int
  var kind: Kind
  package var message: String
  /// The field that is wrong.
  package var parameter: String?
  /// A name of the error, for programs.
  var code: String?
  var retryAfterSeconds: Int?
  /// The methods of the path, if the request used another one.
  var allowedMethods: String?

  /// A field of the request is wrong.
  static func invalid(_ parameter: String?, _ message: String, code: String? = nil) -> APIError {
    APIError(status: 400, kind: .invalidRequest, message: message, parameter: parameter, code: code)
  }

  static func unsupported(_ parameter: String, _ message: String) -> APIError {
    invalid(parameter, message, code: "unsupported_parameter")
  }

  /// In OpenAI's words, by which clients know what happened, with the code for those that show the message only.
  ///
  /// - Parameters:
  ///   - what: what is too long, as "messages".
  ///   - tokens: `limit` of them leave no room for an answer.
  static func contextLength(_ parameter: String, _ what: String, tokens: Int, limit: Int) -> APIError {
    invalid(
      parameter,
      "This model's maximum context length is \(limit) tokens. However, your \(what) resulted in \(tokens) tokens. "
        + (tokens == limit ? "The answer needs one more. " : "")
        + "Please reduce the length of the \(what). (context_length_exceeded)",
      code: "context_length_exceeded")
  }

  static func invalid(_ error: StructuredOutputError) -> APIError {
    invalid(error.place, "'\(error.place)': \(error.reason)")
  }

  package static let unknownPath = APIError(
    status: 404, kind: .notFound, message: "There is nothing at this path.", code: "unknown_url")

  /// The path is none of these.
  static func unknownPath(_ paths: [String]) -> APIError {
    var error = unknownPath
    error.message += " There are \(paths.joined(separator: ", "))."
    return error
  }

  static let stopping = APIError(
    status: 503, kind: .server, message: "The server is stopping. Try again later.", code: "stopping")

  package var json: JSON {
    .object([
      .init(
        "error",
        .object([
          .init("message", .string(message)), .init("type", .string(kind.rawValue)),
          .init("param", parameter.map { .string($0) } ?? .null), .init("code", code.map { .string($0) } ?? .null),
        ]))
    ])
  }

  /// The error as clients of other APIs expect it.
  func json(_ style: APIStyle) -> JSON {
    switch style {
    case .openAI: json
    case .anthropic:
      .object([
        .init("type", .string("error")),
        .init("error", .object([.init("type", .string(anthropicType)), .init("message", .string(message))])),
      ])
    case .ollama: .object([.init("error", .string(message))])
    }
  }

  private var anthropicType: String {
    switch kind {
    case .invalidRequest where status == 413: "request_too_large"
    case .server where status == 503: "overloaded_error"
    case .server: "api_error"
    case .invalidRequest, .authentication, .permission, .notFound, .rateLimit: kind.rawValue
    }
  }

  func response(_ style: APIStyle) -> HTTPResponse {
    var response = HTTPResponse(json(style), status: status)
    if let retryAfterSeconds { response.add("Retry-After", String(retryAfterSeconds)) }
    if let allowedMethods { response.add("Allow", allowedMethods) }
    if status == 401 { response.add("WWW-Authenticate", "Bearer") }
    return response
  }
}

extension HTTPResponse {
  package init(_ json: JSON, status: Int = 200) {
    self.init(status: status, contentType: "application/json", text: json.compactText)
  }
}
