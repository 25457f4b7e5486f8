import Foundation
import Tokenization

/// `minimind chat`: questions and answers, by hand or from standard input.
let chatCommand: Command = {
  let system = Option.optional("system", "TEXT", help: "The system message, which comes before the conversation.")
  return Command(
    "chat", summary: "talks with a model; from a pipe, each line is a question",
    options: [GenerateOptions.model, system, TemplateOptions.variables] + GenerateOptions.all,
    example: "minimind chat --model my-chat"
  ) { invocation in
    let loaded = try LoadedModel(invocation)
    let session = try ChatSession(
      loaded, try loaded.sight(invocation), try TemplateOptions.template(invocation, of: loaded.directory),
      system: invocation[system],
      parameters: ChatParameters(
        sampling: GenerateOptions.sampling(invocation, loaded.defaults),
        maximumTokens: invocation[GenerateOptions.maximumTokens] ?? loaded.defaults.maximumTokens,
        thinkingTokens: invocation[GenerateOptions.thinkingTokens]),
      stops: invocation[GenerateOptions.stop])
    if isatty(STDIN_FILENO) == 1 && Console.standardOutput.isTerminal {
      try session.talk()
    } else {
      try session.answerLines()
    }
  }
}()
