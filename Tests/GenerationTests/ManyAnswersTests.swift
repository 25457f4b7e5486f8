import Generation
import Model
import TestSupport
import Testing

@Suite("Many answers in order")
struct ManyAnswersTests {
  @Test("answers are those that each request has alone, and come in the order of the requests", arguments: [1, 3, 8])
  func order(atOnce: Int) throws {
    let model = try BatchEngineTests.model(BatchEngineTests.shapes[0], type: .float32)
    var generator = SeededGenerator(seed: 6)
    let requests = (0..<40).map { _ in BatchEngineTests.request(&generator, prompt: 1...30) }
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, maximumSequences: atOnce, cacheTokens: 1024)
    var found: [AnswerTokens] = []
    var (tokens, ended) = (0, 0)
    let isComplete = try engine.writeAnswers(
      5..<40, request: { requests[$0] },
      isWanted: {
        (ended, tokens) = ($0, $1)
        return true
      },
      onAnswer: { index, answer in
        #expect(index == found.count + 5)
        found.append(answer)
      })
    #expect(isComplete && found.count == 35 && ended == 35 && !engine.hasWork)
    #expect(tokens == found.reduce(0) { $0 + $1.tokens.count })
    for (request, answer) in zip(requests.dropFirst(5), found) {
      let alone = try BatchEngineTests.alone(model, request)
      #expect(answer.text == alone.map(\.text).joined())
      #expect(answer.isTruncated == alone.contains { if case .end(.length, _) = $0 { true } else { false } })
    }
  }

  @Test("it stops where it is no longer wanted, and where an answer cannot be kept, and leaves the engine idle")
  func stops() throws {
    struct Full: Error {}
    let model = try BatchEngineTests.model(BatchEngineTests.shapes[0], type: .float32)
    let engine = try BatchEngine(model, GeneratorTests.tokenizer, maximumSequences: 2)
    var request = GenerationRequest(prompt: [5, 6])
    (request.maximumTokens, request.ignoresEndTokens) = (20, true)
    var answers = 0
    let isComplete = try engine.writeAnswers(
      0..<10, request: { _ in request }, isWanted: { $1 < 50 }, onAnswer: { _, _ in answers += 1 })
    #expect(!isComplete && answers == 2 && !engine.hasWork)
    #expect(throws: Full.self) {
      _ = try engine.writeAnswers(
        0..<10, request: { _ in request }, isWanted: { _, _ in true }, onAnswer: { _, _ in throw Full() })
    }
    #expect(!engine.hasWork)
  }
}
