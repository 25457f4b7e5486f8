import Compute
import Foundation
import Generation
import TestSupport
import Testing
import Tokenization

@Suite struct ConversationTests {
  static func ask(
    _ conversation: Conversation, _ question: String, maximumTokens: Int? = 10, seed: UInt64 = 1, stopAfter: Int = .max
  ) throws -> [Int32] {
    var tokens: [Int32] = []
    try conversation.ask(
      question, sampling: GeneratorTests.sampling(seed: seed), maximumTokens: maximumTokens
    ) { event in
      if case .token(let token, _, _) = event { tokens.append(token) }
      return tokens.count < stopAfter
    }
    return tokens
  }

  /// What the model reads before it answers the last question.
  static func prompt(_ messages: [(String, [Int32])], question: String, system: String = "") -> [Int32] {
    let tokenizer = GeneratorTests.tokenizer
    func encode(_ text: String) -> [Int32] { try! tokenizer.encode(text, specialTokens: .asText) }
    func ask(_ text: String) -> [Int32] {
      [1] + encode("user\n" + text) + [2] + encode("\n") + [1] + encode("assistant\n")
    }
    return encode(system) + messages.flatMap { ask($0.0) + $0.1 + [2] + encode("\n") } + ask(question)
  }

  @Test("an answer is that to the whole conversation laid out by the template")
  func history() throws {
    let model = try GeneratorTests.model(contextLength: 400)
    let conversation = try Conversation(model, GeneratorTests.tokenizer, ChatTemplate(), system: "a world")
    var turns: [(String, [Int32])] = []
    for (index, question) in ["hello", "</s> is <s> text", "你好，世界"].enumerated() {
      let expected = try GeneratorTests.generate(
        model, prompt: Self.prompt(turns, question: question, system: "a world"),
        maximumTokens: 10, sampling: GeneratorTests.sampling(seed: 1 + UInt64(index)))
      let answer = try Self.ask(conversation, question)
      #expect(answer == expected.tokens)
      turns.append((question, answer))
    }
    conversation.reset()
    #expect(try Self.ask(conversation, "hello") == turns[0].1)
  }

  @Test(
    "by a template in Jinja the whole conversation is laid out for each question, in a full context without its oldest")
  func jinja() throws {
    let tokenizer = GeneratorTests.tokenizer
    let template = try withTemporaryDirectory { directory in
      try tokenizer.save(to: directory)
      try
        "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>a:{% endif %}"
        .write(toFile: directory + "/chat_template.jinja", atomically: true, encoding: .utf8)
      return try ChatTemplate(tokenizerDirectory: directory)
    }
    let model = try GeneratorTests.model(contextLength: 120)
    let conversation = try Conversation(model, tokenizer, template, system: "a world")
    var turns: [ChatMessage] = []
    for index in 0..<6 {
      let question = ChatMessage(role: .user, content: "hello </s> \(index)")
      let answer = try Self.ask(conversation, question.content)
      let asked = [ChatMessage(role: .system, content: "a world")] + turns.suffix(2 * (conversation.turnCount - 1))
      let prompt = try template.prompt(asked + [question], with: tokenizer)
      #expect(prompt.tokens.count { $0 == 2 } == asked.count + 1 && prompt.tokens.count + 10 <= 120)
      let expected = try GeneratorTests.generate(
        model, prompt: prompt.tokens, maximumTokens: 10, sampling: GeneratorTests.sampling(seed: 1 + UInt64(index)))
      #expect(answer == expected.tokens, "turn \(index)")
      turns += [question, try #require(conversation.lastAnswer)]
    }
    #expect((1..<6).contains(conversation.turnCount))
  }

  @Test("pictures of earlier questions stay in the conversation, by either kind of template", arguments: [false, true])
  func pictures(isJinja: Bool) throws {
    let tokenizer = GeneratorTests.tokenizer
    let template = try withTemporaryDirectory { directory in
      try tokenizer.save(to: directory)
      if isJinja {
        try "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}<s>a:"
          .write(toFile: directory + "/chat_template.jinja", atomically: true, encoding: .utf8)
      }
      return try isJinja ? ChatTemplate(tokenizerDirectory: directory) : ChatTemplate()
    }
    let model = try GeneratorTests.model(contextLength: 400)
    let width = model.configuration.hiddenSize
    let placeholder: [Int32] = [7, 7, 8]
    let rows: [[Float]] = (0..<3).map { picture in
      (0..<3 * width).map { (index: Int) -> Float in Float(index * (picture + 3) % 11 - 5) / 4 }
    }
    let conversation = try Conversation(model, tokenizer, template, system: "a world", placeholder: placeholder)
    var messages = [ChatMessage(role: .system, content: "a world")]
    var layout = template
    layout.pictureTokens = placeholder
    // By v1's template an answer stays the tokens that were chosen.
    var built = PicturedTokens(ids: try tokenizer.encode("a world", specialTokens: .asText))
    for (index, pictures) in [[0], [], [1, 2], [0]].enumerated() {
      var answer: [Int32] = []
      try conversation.ask(
        "hello", pictures: pictures.map { rows[$0] }, sampling: GeneratorTests.sampling(), maximumTokens: 8
      ) { event in
        if case .token(let token, _, _) = event { answer.append(token) }
        return true
      }
      let before = [0, 1, 1, 3][index]
      let marks = pictures.indices.map { PictureMark.text(before + $0) + "\n" }.joined()
      messages.append(ChatMessage(role: .user, content: marks + "hello"))
      var prompt = try layout.prompt(messages, with: tokenizer)
      if !isJinja {
        built.append(
          PicturedTokens(
            try layout.encode(
              [ChatMessage(role: .user, content: marks + "hello")], with: tokenizer, addGenerationPrompt: true)))
        prompt = ChatPrompt(tokens: built.ids, opensReasoning: false, pictures: built.pictures)
        built.ids +=
          answer
          + (try layout.encode(
            [ChatMessage(role: .assistant, content: "")], with: tokenizer, addGenerationPrompt: true
          ).flatMap(\.ids))
      }
      #expect(prompt.pictures.map(\.number) == Array(0..<before + pictures.count))
      var request = GenerationRequest(prompt: prompt.tokens)
      request.embedded = Sight.spans(
        prompt.pictures, rows: [rows[0], rows[1], rows[2], rows[0]], rowsPerPicture: 3)
      for span in request.embedded { #expect(Array(prompt.tokens[span.rows]) == placeholder) }
      request.sampling = GeneratorTests.sampling(seed: 1 + UInt64(index))
      request.maximumTokens = 8
      var expected: [Int32] = []
      for event in Generator(try BatchEngine(model, tokenizer), request) {
        if case .token(let token, _, _) = event { expected.append(token) }
      }
      #expect(answer == expected, "question \(index)")
      messages.append(try #require(conversation.lastAnswer))
    }
  }

  @Test("an answer that was broken off stays in the conversation as far as it came")
  func interrupted() throws {
    let model = try GeneratorTests.model(contextLength: 400)
    let conversation = try Conversation(model, GeneratorTests.tokenizer, ChatTemplate())
    let partial = try Self.ask(conversation, "hello", stopAfter: 3)
    #expect(partial.count <= 3)
    let expected = try GeneratorTests.generate(
      model, prompt: Self.prompt([("hello", partial)], question: "what"), maximumTokens: 10,
      sampling: GeneratorTests.sampling(seed: 2))
    #expect(try Self.ask(conversation, "what") == expected.tokens)
  }

  @Test("a full context forgets the oldest turns and keeps the system message")
  func forgetting() throws {
    let model = try GeneratorTests.model(contextLength: 120)
    let conversation = try Conversation(model, GeneratorTests.tokenizer, ChatTemplate(), system: "a world")
    var turns: [(String, [Int32])] = []
    for index in 0..<12 {
      let question = "hello \(index)"
      let answer = try Self.ask(conversation, question)
      let kept = turns.suffix(conversation.turnCount - 1)
      let prompt = Self.prompt(Array(kept), question: question, system: "a world")
      #expect(prompt.count + 10 <= 120)
      let expected = try GeneratorTests.generate(
        model, prompt: prompt, maximumTokens: 10,
        sampling: GeneratorTests.sampling(seed: 1 + UInt64(index)))
      #expect(answer == expected.tokens, "turn \(index)")
      turns.append((question, answer))
    }
    #expect(conversation.turnCount < 12)
  }

  @Test("a question that fits in no context is refused, and the conversation goes on")
  func tooLong() throws {
    let model = try GeneratorTests.model(contextLength: 60)
    let conversation = try Conversation(model, GeneratorTests.tokenizer, ChatTemplate())
    let error = #expect(throws: InferenceError.self) {
      try Self.ask(conversation, String(repeating: "x ", count: 100))
    }
    #expect(
      error?.description.hasSuffix(
        "so there is no room for an answer. Shorten it, or choose a larger --context.") == true)
    #expect(conversation.turnCount == 0)
    _ = try Self.ask(conversation, "hello")
    #expect(conversation.turnCount == 1)
  }
}
