import Foundation
import Generation
import Model
import Tokenization

/// `minimind generate`: continues a text.
let generateCommand: Command = {
  let prompt = Option.optional(
    "prompt", "TEXT",
    help: "The text to continue, after an <s> as in pretraining; <s> and </s> in it are control tokens. "
      + "\"-\" or nothing: standard input.")
  let image = Option.list(
    "image", "FILE",
    help:
      "A picture in PNG, JPEG or WebP, for a model that sees; may be given several times. <image> in the prompt stands "
      + "for each in turn; without it they come first.")
  return Command(
    "generate", summary: "continues a text with a model, or answers the questions of a file",
    options: [GenerateOptions.model, prompt, image] + BulkGeneration.options + GenerateOptions.all + [Option.json],
    example: "minimind generate --model my-chat --input questions.jsonl --output answers.jsonl --max-tokens 200"
  ) { invocation in
    if let bulk = try BulkGeneration(invocation, otherwise: [prompt, image, Option.json]) { return try bulk.run() }
    let text = try promptText(invocation[prompt])
    let loaded = try LoadedModel(invocation)
    let sight = invocation.isGiven(image) ? try loaded.requireSight(invocation) : nil
    let prompt = try promptTokens(
      try sight == nil ? text : placed(text, pictures: invocation[image].count), loaded.tokenizer,
      placeholder: sight?.placeholder ?? [])
    let tokens = prompt.ids
    guard tokens.count < loaded.model.contextLength else {
      throw InferenceError.messageTooLong(tokens: tokens.count, contextLength: loaded.model.contextLength)
    }
    var request = GenerationRequest(prompt: tokens)
    if let sight {
      request.embedded = Sight.spans(
        prompt.pictures, rows: try invocation[image].map(sight.rows(ofFile:)),
        rowsPerPicture: sight.placeholder.count)
    }
    request.sampling = GenerateOptions.sampling(invocation, loaded.defaults)
    request.maximumTokens = invocation[GenerateOptions.maximumTokens] ?? loaded.defaults.maximumTokens
    request.thinking = try invocation[GenerateOptions.thinkingTokens].map {
      try ThinkingBudget(maximumTokens: $0, isOpen: ThinkingBudget.isOpen(atEndOf: text), loaded.tokenizer)
    }
    request.stops = invocation[GenerateOptions.stop]
    let events = try Generator(loaded.model, loaded.tokenizer, request)
    if invocation[Option.json] {
      try printGeneration(events, prompt: text, promptTokens: tokens.count)
    } else {
      try stream(events, prompt: text)
    }
  }
}()

private func promptText(_ option: String?) throws -> String {
  if let option, option != "-" { return option }
  guard isatty(STDIN_FILENO) == 0 else {
    throw UsageError("minimind generate needs --prompt TEXT, or a text on standard input.")
  }
  var text = String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self)
  if text.hasSuffix("\n") { text.removeLast() }
  return text
}

/// The prompt with marks for its pictures; without `<image>` in it they come first, each in a line.
///
/// - Throws: `CommandError` where placeholders and pictures are not as many.
private func placed(_ text: String, pictures count: Int) throws -> String {
  guard count <= PictureMark.limit else {
    throw CommandError("a prompt can have \(PictureMark.limit) pictures at most.")
  }
  let (marked, marks) = PictureMark.placed(text, from: 0)
  guard marks > 0 else { return (0..<count).map { PictureMark.text($0) + "\n" }.joined() + marked }
  guard marks == count else {
    throw CommandError(
      "the prompt has \(marks) \(PictureMark.placeholder), and there \(count == 1 ? "is 1 picture" : "are \(count) pictures"). "
        + "Give one --image for each, or leave the marks out.")
  }
  return marked
}

/// The prompt as the beginning of a document.
///
/// - Parameter placeholder: the tokens that stand for a picture; empty where there is none.
private func promptTokens(_ text: String, _ tokenizer: Tokenizer, placeholder: [Int32]) throws -> PicturedTokens {
  var template = ChatTemplate()
  template.pictureTokens = placeholder
  let tokens = try template.encode([.init(text: text, isContent: false)], with: tokenizer)
  guard tokens.ids.first != tokenizer.beginToken else { return tokens }
  var prompt = PicturedTokens(ids: tokenizer.beginTokens)
  prompt.append(tokens)
  return prompt
}

private func stream(_ events: Generator, prompt: String) throws {
  let console = Console.standardOutput
  Interruption.watch()
  // In a file or a pipe only what the model wrote; on a terminal it reads better as a whole.
  if console.isTerminal { try console.write(console.dim(prompt)) }
  var clock = GenerationClock()
  for event in events {
    clock.count(event)
    try console.write(event.text)
    if Interruption.isRequested {
      try console.print()
      throw Interrupted()
    }
  }
  try console.print()
  if console.isTerminal { try Console.standardError.print(Console.standardError.dim(clock.line)) }
}

/// What `--json` prints.
private struct GenerationResult: Encodable {
  var prompt: String
  var text = ""
  var finishReason = FinishReason.length
  var promptTokens: Int
  var tokens = 0
  var firstTokenSeconds: Double?
  var tokensPerSecond: Double?

  enum CodingKeys: String, CodingKey {
    case prompt, text, tokens
    case finishReason = "finish_reason"
    case promptTokens = "prompt_tokens"
    case firstTokenSeconds = "first_token_seconds"
    case tokensPerSecond = "tokens_per_second"
  }
}

private func printGeneration(_ events: Generator, prompt: String, promptTokens: Int) throws {
  Interruption.watch()
  var result = GenerationResult(prompt: prompt, promptTokens: promptTokens)
  var clock = GenerationClock()
  for event in events {
    clock.count(event)
    try Interruption.check()
    result.text += event.text
    if case .end(let reason, _) = event { result.finishReason = reason }
  }
  result.tokens = clock.tokens
  result.firstTokenSeconds = clock.firstTokenSeconds
  result.tokensPerSecond = clock.tokensPerSecond
  try printJSON(result)
}
