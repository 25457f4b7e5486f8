import Generation
import Machine
import Storage
import StructuredOutput
import Synchronization
import Tokenization

/// One answer on its way to a client: receives what the model writes and sends it, in pieces or whole at the end.
final class Answer: Sendable {
  private struct State {
    /// Each choice so far; empty in a stream.
    var choices: [ChoicePiece]
    /// For the offsets of tokens.
    var decoders: [StreamingDecoder]
    var offsets: [Int]
    /// For the reasoning before an answer in a conversation; none for completions.
    var splitters: [ReasoningSplitter]
    /// For tool calls; none if there are no tools.
    var parsers: [ToolCallParser]
    var lastTokenTimes: [Double?]
    var format: any AnswerFormat
    var usage = Usage()
    var timings = Timings()
    var stopStrings: [String?]
    var running: Int
    /// What came before the answer could begin; nil from then on.
    var early: [(GenerationEvent, choice: Int)]? = []
    var isOver = false

    var totals: AnswerTotals { AnswerTotals(usage: usage, timings: timings) }
  }

  private let call: GenerationCall
  private let tokenizer: Tokenizer
  private let reply: Reply
  private let metrics: ServingMetrics
  private let state: Mutex<State>
  private let start = monotonicSeconds()

  init(
    _ call: GenerationCall, _ format: any AnswerFormat, _ tokenizer: Tokenizer, _ reply: Reply,
    _ metrics: ServingMetrics
  ) {
    self.call = call
    self.tokenizer = tokenizer
    self.reply = reply
    self.metrics = metrics
    let parts = call.parts
    state = Mutex(
      State(
        choices: Array(repeating: ChoicePiece(), count: parts),
        decoders: Array(repeating: StreamingDecoder(tokenizer), count: parts),
        offsets: Array(repeating: 0, count: parts),
        splitters: call.kind == .chat
          ? Array(repeating: ReasoningSplitter(isOpen: call.opensReasoning), count: parts) : [],
        parsers: call.tools.isEmpty ? [] : Array(repeating: ToolCallParser(tools: call.tools), count: parts),
        lastTokenTimes: Array(repeating: nil, count: parts),
        format: format, usage: Usage(prompt: call.prompts.reduce(0) { $0 + $1.tokens.count }),
        stopStrings: Array(repeating: nil, count: parts), running: parts))
  }

  /// Begins to send. Until then the request can still fail with an error instead of an answer.
  func begin() {
    state.withLock { state in
      guard !state.isOver, let early = state.early else { return }
      state.early = nil
      if call.isStreamed {
        reply.startStream(contentType: state.format.contentType)
        reply.write(state.format.opening())
      }
      for (event, choice) in early { receive(event, choice, &state) }
    }
  }

  /// Receives what the model did for a choice. Called on the scheduler's thread.
  func receive(_ event: GenerationEvent, choice: Int) {
    state.withLock { state in
      if state.early != nil {
        state.early?.append((event, choice: choice))
      } else {
        receive(event, choice, &state)
      }
    }
  }

  private func receive(_ event: GenerationEvent, _ choice: Int, _ state: inout State) {
    guard !state.isOver else { return }
    switch event {
    case .prompt(let logProbabilities, let cachedTokens): begin(choice, logProbabilities, cachedTokens, &state)
    case .token(let token, let text, let logProbability):
      measure(choice, &state)
      state.usage.completion += 1
      if !state.splitters.isEmpty, state.splitters[choice].isReasoning { state.usage.reasoning += 1 }
      let tokens = logProbability.map { [report(token, $0, choice, &state)] } ?? []
      deliver(piece(text, tokens, choice, &state), choice, &state)
    case .stopString(let text): state.stopStrings[choice] = text
    case .end(.cancelled, _): fail(.stopping, &state)
    case .end(let reason, let text):
      deliver(piece(text, [], choice, isLast: true, &state), choice, &state)
      let hasCalls = !state.parsers.isEmpty && state.parsers[choice].callCount > 0
      state.running -= 1
      if state.running == 0 { state.timings.finish(state.usage) }
      let word = hasCalls && reason == .stop ? "tool_calls" : reason.rawValue
      deliver(ChoicePiece(finish: word, stopString: state.stopStrings[choice]), choice, &state)
      if state.running == 0 { finish(&state) }
    }
  }

  /// Ends the answer with an error.
  func fail(_ error: APIError) { state.withLock { fail(error, &$0) } }

  private func begin(
    _ choice: Int, _ logProbabilities: [TokenLogProbability?], _ cachedTokens: Int, _ state: inout State
  ) {
    state.timings.promptIsRead()
    // The first of several answers to one prompt reads it.
    if choice % call.count == 0 { state.usage.cached += cachedTokens }
    guard call.echoes else { return }
    let prompt = call.prompts[choice / call.count]
    let shown = prompt.tokens.dropFirst(prompt.addedTokens)
    var piece = ChoicePiece(text: tokenizer.decode(shown))
    if call.request.topLogProbabilities != nil {
      for (token, value) in zip(shown, logProbabilities.dropFirst(prompt.addedTokens)) {
        piece.tokens.append(report(token, value, choice, &state))
      }
    }
    deliver(piece, choice, &state)
  }

  private func report(
    _ token: Int32, _ value: TokenLogProbability?, _ choice: Int, _ state: inout State
  ) -> TokenReport {
    defer { state.offsets[choice] += state.decoders[choice].push(token).unicodeScalars.count }
    return TokenReport(token: token, logProbability: value, textOffset: state.offsets[choice])
  }

  /// Text that the model wrote, with reasoning and tool calls separated.
  private func piece(
    _ text: String, _ tokens: [TokenReport], _ choice: Int, isLast: Bool = false, _ state: inout State
  ) -> ChoicePiece {
    var piece = ChoicePiece(text: text, tokens: tokens)
    if !state.splitters.isEmpty {
      (piece.reasoning, piece.text) = state.splitters[choice].push(text)
      if isLast {
        let rest = state.splitters[choice].finish()
        piece.reasoning += rest.reasoning
        piece.text += rest.answer
      }
    }
    guard !state.parsers.isEmpty else { return piece }
    var events = state.parsers[choice].push(piece.text)
    piece.text = ""
    if isLast { events += state.parsers[choice].finish() }
    for event in events {
      if case .text(let text) = event { piece.text += text } else { piece.calls.append(CallPiece(event)) }
    }
    return piece
  }

  private func measure(_ choice: Int, _ state: inout State) {
    let now = monotonicSeconds()
    if let last = state.lastTokenTimes[choice] {
      metrics.observeTokenGap(now - last)
    } else {
      metrics.observeFirstToken(now - start)
    }
    state.lastTokenTimes[choice] = now
  }

  /// Sends a piece, or adds it to the whole answer.
  private func deliver(_ piece: ChoicePiece, _ choice: Int, _ state: inout State) {
    if !call.isStreamed {
      state.choices[choice].append(piece)
    } else if !piece.isEmpty {
      let totals = state.running == 0 ? state.totals : nil
      reply.write(state.format.bytes(piece, index: choice, totals))
    }
  }

  private func finish(_ state: inout State) {
    state.isOver = true
    if call.isStreamed {
      reply.write(state.format.ending(state.totals))
      reply.end()
    } else {
      reply.send { [format = state.format, choices = state.choices, totals = state.totals] in
        format.whole(choices, totals)
      }
    }
  }

  private func fail(_ error: APIError, _ state: inout State) {
    guard !state.isOver else { return }
    state.isOver = true
    reply.fail(error, event: state.format.failure(error))
  }
}
