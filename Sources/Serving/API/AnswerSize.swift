import Generation
import Storage

/// The limits of an answer's size, so that clients cannot make the server use any amount of memory: an answer that is
/// not streamed is kept until its end.
extension GenerationCall {
  /// The most parts of an answer: as many as a request may have prompts.
  private static let partLimit = TextInputReader.limit
  /// The most bytes of an answer that is not streamed, estimated with a usual length of a token's text, and of a
  /// log-probability with the token that it is of, both as they stand in the JSON.
  private static let byteLimit = 48 << 20
  private static let textBytes = 8
  private static let logProbabilityBytes = 64

  /// - Throws: `APIError` when the answer has too many parts.
  func checkParts() throws(APIError) {
    guard parts > Self.partLimit else { return }
    throw APIError.invalid(
      "n",
      "'n' is \(count) for each of \(prompts.count) prompts, which makes \(parts) answers; \(Self.partLimit) are the "
        + "most. Lower 'n', or send fewer prompts.")
  }

  /// - Throws: `APIError` when a prompt leaves no room for an answer, or the answer could become too large to be kept
  ///   until its end.
  func checkSize(contextLength: Int) throws(APIError) {
    if request.maximumTokens != 0, let full = prompts.first(where: { $0.tokens.count >= contextLength }) {
      let name = kind == .chat ? "messages" : "prompt"
      throw APIError.contextLength(name, name, tokens: full.tokens.count, limit: contextLength)
    }
    if isStreamed { return }
    let echoed = echoes ? prompts.reduce(0) { $0 + $1.tokens.count } : 0
    let written = prompts.reduce(0) {
      $0 + request.tokenLimit(promptTokens: $1.tokens.count, contextLength: contextLength)
    }
    let logProbabilities = request.topLogProbabilities.map { 1 + $0 } ?? 0
    let tokenBytes = Self.textBytes + logProbabilities * Self.logProbabilityBytes
    let bytes = (echoed + written) * count * tokenBytes
    guard bytes > Self.byteLimit else { return }
    let name = kind == .chat ? "top_logprobs" : "logprobs"
    throw APIError.invalid(
      written < echoed ? "prompt" : "max_tokens",
      "The answer could have \((echoed + written) * count) tokens with \(logProbabilities) log-probabilities each, about "
        + "\(formatBytes(bytes)); an answer that is not streamed can have \(formatBytes(Self.byteLimit)). Lower 'max_tokens', "
        + "'\(name)' or 'n', send fewer prompts, or set 'stream'.")
  }
}
