import CPUEngine
import Compute
import Generation
import Model
import Rewards
import Storage
import StructuredOutput
import TestSupport
import Testing
import Tokenization
import minimind

@Suite("Answers with tools in between") struct TaskAnswersTests {
  private static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 320, threads: 1, layout: .miniMind3)
    try! trainer.add(document: "the result of a call")
    return try! trainer.train()
  }()

  private static let call = "<tool_call>\n{\"name\": \"look_up\", \"arguments\": {\"key\": \"Anna\"}}\n</tool_call>"

  private func session(turns: Int) throws -> ToolSession {
    let row = """
      {"messages": [{"role": "user", "content": "q"}], "turns": \(turns), "tools": [\(BuiltInTool.lookUp.json.compactText)], \
      "table": {"Anna": 7}, "check": {"kind": "number", "value": 7}}
      """
    let template = try withTemporaryDirectory { directory in
      try Self.tokenizer.save(to: directory)
      return try ChatTemplate(tokenizerDirectory: directory)
    }
    return try #require(try VerifiableTask(JSON(parsing: row)).session(template, Self.tokenizer))
  }

  /// The answers of a random model that is held to a call, which it ends.
  private func written(_ session: ToolSession?, maximumTokens: Int, context: Int = 512) throws -> AnswerTokens {
    let configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64,
      vocabularySize: Self.tokenizer.vocabularySize)
    let model = try CPUInferenceEngine(
      try InferenceShapes.parameters(configuration, seed: 4), type: .float32, contextLength: context,
      team: WorkerTeam(count: 1))
    var request = GenerationRequest(prompt: [1, 40, 41])
    request.maximumTokens = maximumTokens
    request.endTokens = [Self.tokenizer.endToken]
    request.constraint = Script(try Self.tokenizer.encode(Self.call) + [Self.tokenizer.endToken], Self.tokenizer)
    let engine = try BatchEngine(model, Self.tokenizer, answers: 1, longest: context)
    return try #require(try TaskAnswers.write([request], tools: [session], by: engine) { _ in }.first)
  }

  @Test("results stand between the answers, marked as not the model's, as often as the task allows")
  func turns() throws {
    let call = try Self.tokenizer.encode(Self.call) + [Self.tokenizer.endToken]
    let session = try session(turns: 2)
    let result = try session.turn.tokens("{\"result\":7}", Self.tokenizer)
    let answer = try written(session, maximumTokens: 400)
    #expect(answer.tokens == call + result + call + result + call)
    let first = call.count..<call.count + result.count
    let second = first.upperBound + call.count..<first.upperBound + call.count + result.count
    #expect(answer.inserted == [first, second] && answer.chosenCount == 3 * call.count)
    for (place, value) in answer.logProbabilities.enumerated() {
      #expect((value == 0) == (first.contains(place) || second.contains(place)))
    }
    #expect(answer.text == Self.call && !answer.isTruncated)
    #expect(answer.earlierText == "\(Self.call)\n{\"result\":7}\n\(Self.call)\n{\"result\":7}\n")
    #expect(try written(nil, maximumTokens: 400).tokens == call)
  }

  @Test("a result without room for an answer after it cuts the answer, by its tokens and by the context")
  func room() throws {
    let session = try session(turns: 4)
    let call = try Self.tokenizer.encode(Self.call).count + 1
    let result = try session.turn.tokens("{\"result\":7}", Self.tokenizer).count
    let most = call + result + 5
    let short = try written(session, maximumTokens: most)
    #expect(short.isTruncated && short.tokens.count == most && short.inserted.count == 1)
    let none = try written(session, maximumTokens: call + result)
    #expect(none.isTruncated && none.tokens.count == call && none.inserted.isEmpty)
    let context = try written(session, maximumTokens: 400, context: 3 + call + result)
    #expect(context.isTruncated && context.tokens.count == call)
  }
}

/// These tokens, and no others.
private struct Script: TokenConstraint {
  private let tokens: [Int32]
  private let vocabularySize: Int
  private var place = 0

  init(_ tokens: [Int32], _ tokenizer: Tokenizer) {
    self.tokens = tokens
    vocabularySize = tokenizer.vocabularySize
  }

  func allowedTokens() -> TokenSet {
    var set = TokenSet(vocabularySize: vocabularySize)
    set.insert(tokens[min(place, tokens.count - 1)])
    return set
  }

  mutating func accept(_ token: Int32) { place += 1 }
}
