import Foundation
import Generation
import Storage
import Tokenization

/// A conversation on a terminal: lines are questions, or commands if they begin with a slash.
final class ChatSession {
  private let loaded: LoadedModel
  private let template: ChatTemplate
  private let stops: [String]
  private let console = Console.standardOutput
  private var conversation: Conversation
  private var parameters: ChatParameters
  private var system: String?
  /// Nil for a model that reads text only.
  private let sight: Sight?
  /// The pictures of the next question: their files, and the rows that the model reads for each.
  private var waiting: [(path: String, rows: [Float])] = []
  /// What was said, for `/save`.
  private var messages: [ChatMessage] = []
  /// The files of all pictures in `messages`.
  private var images: [String] = []
  /// The file of the last `/save`, which another one may replace.
  private var savedPath: String?

  init(
    _ loaded: LoadedModel, _ sight: Sight?, _ template: ChatTemplate, system: String?, parameters: ChatParameters,
    stops: [String]
  ) throws {
    self.loaded = loaded
    self.sight = sight
    self.template = template
    self.system = system
    self.parameters = parameters
    self.stops = stops
    conversation = try Self.conversation(loaded, sight, template, system: system)
  }

  private static func conversation(
    _ loaded: LoadedModel, _ sight: Sight?, _ template: ChatTemplate, system: String?
  ) throws -> Conversation {
    try Conversation(
      loaded.model, loaded.tokenizer, template, system: system, placeholder: sight?.placeholder ?? [])
  }

  /// Each line of standard input is a question, or `/image FILE` for the next one; only the answers are printed.
  func answerLines() throws {
    while let line = readLine() {
      if line.hasPrefix("/image ") {
        try show(line.dropFirst(7).trimmingCharacters(in: .whitespaces))
      } else if !line.isEmpty {
        _ = try answer(line)
      }
    }
  }

  /// Reads questions at a prompt until `/exit` or Ctrl-D.
  func talk() throws {
    let editor = LineEditor(prompt: "> ", console: console, historyName: "chat_history")
    // A Ctrl-C between the answer and the prompt comes a moment too late; it must not end the program.
    Interruption.ignore()
    let count = formatCount(loaded.model.configuration.parameterCount)
    try note("\(loaded.directory), \(count) parameters. /help lists the commands; Ctrl-C stops an answer, Ctrl-D ends.")
    while true {
      switch try editor.read() {
      case .end: return try console.print()
      case .interrupted: try console.print()
      case .line("/exit"): return
      case .line(""): break
      case .line(let text):
        editor.remember(text)
        do {
          try text.hasPrefix("/") ? obey(text) : answerOnTerminal(text)
        } catch let error as OutputClosed {
          throw error
        } catch {
          // A mistake, or a question that is too long, ends nothing.
          try console.print("\(error)")
        }
      }
    }
  }

  // MARK: - Commands

  private static let help = renderPairs([
    (name: "/reset", value: "forgets the conversation"),
    (name: "/system [TEXT]", value: "shows the system message, or starts again with another; \"off\" for none"),
    (
      name: "/image FILE", value: "shows a picture with the next question, for a model that sees; several come in order"
    ),
    (name: "/params [NAME VALUE …]", value: "shows or sets how the next words are chosen"),
    (name: "/save FILE", value: "writes the conversation as a line of JSON, as minimind data sft reads it"),
    (name: "/help", value: "shows this"), (name: "/exit", value: "ends, as does Ctrl-D"),
    (name: "keys", value: "arrows edit and recall messages, Ctrl-R searches them, Ctrl-C stops an answer"),
    (name: "lines", value: "Alt-Enter, or \\ at the end of a line, begins another line; pasted lines are one message"),
  ])
  private static let commands = ["/reset", "/system", "/image", "/params", "/save", "/help", "/exit"]

  private func obey(_ line: String) throws {
    let parts = line.split(separator: " ", maxSplits: 1)
    let argument = parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
    switch (parts[0], argument) {
    case ("/help", _): try console.write(Self.help)
    case ("/reset", _):
      conversation.reset()
      forgetMessages()
      try note("The conversation starts again.")
    case ("/system", ""): try note(system.map { "The system message is: \($0)" } ?? "There is no system message.")
    case ("/system", _):
      system = argument == "off" ? nil : argument
      conversation = try Self.conversation(loaded, sight, template, system: system)
      forgetMessages()
      try note("The conversation starts again, \(system == nil ? "without a" : "with this") system message.")
    case ("/image", ""): throw UsageError("/image needs the name of a file: /image photo.jpg")
    case ("/image", _):
      try show(argument)
      try note("\(argument) comes with the next question.")
    case ("/params", _):
      try parameters.set(argument.split(separator: " "))
      try console.write(parameters.text)
    case ("/save", ""): throw UsageError("/save needs the name of a file: /save talk.jsonl")
    case ("/save", _): try save(argument)
    default:
      let near = nearestName(to: String(parts[0]), among: Self.commands).map { " Did you mean \($0)?" } ?? ""
      throw UsageError("there is no command \(parts[0]).\(near) /help lists them.")
    }
  }

  private func save(_ path: String) throws {
    guard !messages.isEmpty else { throw CommandError("there is nothing to save yet.") }
    guard path == savedPath || !FileManager.default.fileExists(atPath: path) else {
      throw CommandError("\(path) exists. Choose another name.")
    }
    let all = (system.map { [ChatMessage(role: .system, content: $0)] } ?? []) + messages
    var row = [JSON.Member("messages", .array(all.map(\.json)))]
    if !images.isEmpty { row.insert(.init("images", .array(images.map(JSON.string))), at: 0) }
    try AtomicFile.write(JSON.object(row).compactText + "\n", to: path)
    savedPath = path
    try note("Saved \(all.count) messages in \(path).")
  }

  private func forgetMessages() { (messages, images, waiting) = ([], [], []) }

  /// Keeps a picture for the next question.
  private func show(_ path: String) throws {
    guard let sight else { throw CommandError("this model reads text only: it has no tower.") }
    guard waiting.count < PictureMark.limit else {
      throw CommandError("a question can have \(PictureMark.limit) pictures at most.")
    }
    waiting.append((path, try sight.rows(ofFile: path)))
  }

  private func note(_ text: String) throws { try console.print(console.dim(text)) }

  // MARK: - Answers

  private func answerOnTerminal(_ question: String) throws {
    // While there is an answer Ctrl-C belongs to it; at the prompt it is a key of the line editor.
    Interruption.watch()
    defer {
      Interruption.stopWatching()
      Interruption.ignore()
    }
    try note(answer(question).line)
  }

  private func answer(_ question: String) throws -> GenerationClock {
    var clock = GenerationClock()
    var isFirst = true
    let turns = conversation.turnCount
    let shown = waiting
    try conversation.ask(
      question, pictures: shown.map(\.rows), sampling: parameters.sampling,
      maximumTokens: parameters.maximumTokens, thinkingTokens: parameters.thinkingTokens, stops: stops
    ) { event in
      clock.count(event)
      // A prompt that ends in <think> is no part of the answer, but without it the answer's </think> would stand alone.
      if isFirst, conversation.opensReasoning { try console.write("<think>\n") }
      isFirst = false
      try console.write(event.text)
      return !Interruption.isRequested
    }
    waiting = []
    if let answer = conversation.lastAnswer {
      let marks = String(repeating: PictureMark.placeholder + "\n", count: shown.count)
      messages += [ChatMessage(role: .user, content: marks + question), answer]
      images += shown.map(\.path)
    }
    try console.print()
    let forgotten = turns + 1 - conversation.turnCount
    if forgotten > 0 {
      try note(
        "The context is full: the oldest \(forgotten == 1 ? "question is" : "\(forgotten) questions are") forgotten.")
    }
    return clock
  }
}
