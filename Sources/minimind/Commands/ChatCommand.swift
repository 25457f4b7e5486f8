import Foundation
import Inference
import Tokenization

/// `minimind chat`: questions and answers, by hand or from standard input.
let chatCommand: Command = {
  let system = Option.optional("system", "TEXT", help: "A message that stands before the conversation.")
  return Command(
    "chat", summary: "talks with a model",
    options: [GenerateOptions.model, system] + GenerateOptions.all,
    example: "minimind chat --model my-chat-run"
  ) { invocation in
    let loaded = try LoadedModel(invocation)
    let template = try ChatTemplate(tokenizerDirectory: loaded.directory)
    let conversation = try Conversation(loaded.model, loaded.tokenizer, template, system: invocation[system])
    let chat = Chat(
      conversation: conversation, sampling: GenerateOptions.sampling(invocation),
      maximumTokens: invocation[GenerateOptions.maximumTokens], stops: invocation[GenerateOptions.stop])
    if isatty(STDIN_FILENO) == 1 && Console.standardOutput.isTerminal {
      try chat.talk(
        welcome: "\(loaded.directory), \(formatCount(loaded.model.configuration.parameterCount)) parameters")
    } else {
      try chat.answerLines()
    }
  }
}()

private struct Chat {
  let conversation: Conversation
  let sampling: SamplingSettings
  let maximumTokens: Int?
  let stops: [String]
  private let console = Console.standardOutput

  init(conversation: Conversation, sampling: SamplingSettings, maximumTokens: Int?, stops: [String]) {
    self.conversation = conversation
    self.sampling = sampling
    self.maximumTokens = maximumTokens
    self.stops = stops
  }

  /// Each line of standard input is a question; only the answers are printed.
  func answerLines() throws {
    while let line = readLine() {
      if !line.isEmpty { _ = try answer(line) }
    }
  }

  /// Reads questions at a prompt until `/exit` or the end of input.
  func talk(welcome: String) throws {
    try console.print(
      console.dim("\(welcome). /reset forgets the conversation, /exit ends it, Ctrl-C stops an answer."))
    while true {
      try console.write(console.bold("> "))
      guard let line = readLine() else { return try console.print() }
      let question = line.trimmingCharacters(in: .whitespaces)
      switch question {
      case "": continue
      case "/exit": return
      case "/reset":
        conversation.reset()
        try console.print(console.dim("The conversation begins anew."))
      case _ where question.hasPrefix("/"):
        try console.print(console.dim("There is no command \(question); there are /reset and /exit."))
      default: try answerOnTerminal(question)
      }
    }
  }

  private func answerOnTerminal(_ question: String) throws {
    // Ctrl-C belongs to the answer while there is one, and to the program while it waits for a question.
    Interruption.watch()
    defer { Interruption.stopWatching() }
    do {
      let clock = try answer(question)
      try console.print(console.dim(clock.line))
    } catch let error as InferenceError {
      try console.print(error.description)
    }
  }

  private func answer(_ question: String) throws -> GenerationClock {
    var clock = GenerationClock()
    try conversation.ask(question, sampling: sampling, maximumTokens: maximumTokens, stops: stops) { event in
      clock.count(event)
      try console.write(event.text)
      return !Interruption.isRequested
    }
    try console.print()
    return clock
  }
}
