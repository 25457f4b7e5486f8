import Corpus
import Model
import Tokenization

/// How many of some questions were answered right.
package struct ChoiceScore: Sendable, Equatable {
  package private(set) var correct = 0
  package private(set) var total = 0

  package init() {}

  mutating func add(isCorrect: Bool) {
    total += 1
    if isCorrect { correct += 1 }
  }

  package var accuracy: Double { Double(correct) / Double(total) }
  /// Of the accuracy, were the questions drawn at random: √(p·(1 - p)/(n - 1)). Nil for one question.
  package var standardError: Double? {
    total > 1 ? (accuracy * (1 - accuracy) / Double(total - 1)).squareRoot() : nil
  }
}

/// What a model answered to a question.
package struct ChoiceAnswer: Sendable, Equatable {
  /// Indices into the test's subjects, and the questions of one.
  package var subject: Int
  package var question: Int
  /// [letters] the logit of each letter as the next token.
  package var logits: [Float]
  package var promptTokens: Int
  /// Examples that the prompt had.
  package var exampleCount: Int

  package init(subject: Int, question: Int, logits: [Float], promptTokens: Int, exampleCount: Int) {
    self.subject = subject
    self.question = question
    self.logits = logits
    self.promptTokens = promptTokens
    self.exampleCount = exampleCount
  }

  /// The index of the letter with the highest logit; of equals the first.
  package var chosen: Int { logits.indices.reduce(0) { logits[$1] > logits[$0] ? $1 : $0 } }
}

/// Asks a model the questions of a test. The prompts are packed into batches without padding, and only the last token
/// of each goes through the output layer.
package struct ChoiceTest {
  private let set: QuestionSet
  /// In the order of the questions.
  private var prompts: [(subject: Int, question: Int, tokens: [Int32], exampleCount: Int)] = []
  private let letterTokens: [Int32]
  /// Enough rows for the products to run at full speed.
  private static let batchTokens = 4096

  /// - Parameters:
  ///   - exampleCount: this number of each subject's examples, the first ones, come before each question.
  ///   - maximumTokens: of a prompt with examples.
  /// - Throws: `TokenizerError`; `TemplateError` when the chat template refuses the conversation.
  package init(_ set: QuestionSet, _ prompt: ChoicePrompt, exampleCount: Int, maximumTokens: Int) throws {
    self.set = set
    letterTokens = prompt.letterTokens
    for (number, subject) in set.subjects.enumerated() {
      let examples = try prompt.examples(subject.examples.prefix(exampleCount))
      for (index, question) in subject.questions.enumerated() {
        let (tokens, count) = try prompt.encode(question, examples: examples, maximumTokens: maximumTokens)
        prompts.append((number, index, tokens, count))
      }
    }
  }

  /// The tokens of all prompts.
  package var tokenCount: Int { prompts.reduce(0) { $0 + $1.tokens.count } }

  /// - Parameters:
  ///   - engines: make the engine that computes.
  ///   - progress: called after each batch with the questions answered so far; what it throws ends the test.
  /// - Returns: the answers in the order of the questions.
  /// - Throws: `OutOfMemoryError`, and what `progress` throws.
  package func run(
    _ parameters: Parameters, precision: ElementType, rotaryScaling: RotaryScaling? = nil,
    engines: any TrainingEngineProvider, progress: (_ questions: Int) throws -> Void = { _ in }
  ) throws -> [ChoiceAnswer] {
    let longest = prompts.map(\.tokens.count).max() ?? 1
    let batchTokens = max(longest, min(Self.batchTokens, tokenCount))
    let engine = try engines.makeEngine(
      .whole(parameters),
      EngineSettings(precision: precision, maximumTokens: batchTokens, optimizer: nil, rotaryScaling: rotaryScaling))
    var answers: [ChoiceAnswer] = []
    while answers.count < prompts.count {
      var batch = Batch()
      var rest = prompts[answers.count...]
      while let next = rest.first, batch.tokenCount + next.tokens.count <= batchTokens {
        batch.append(prompt: next.tokens)
        rest.removeFirst()
      }
      let logits = engine.logits(batch, rows: batch.documentOffsets.dropFirst().map { Int($0) - 1 })
      let vocabulary = parameters.configuration.vocabularySize
      for row in 0..<batch.documentCount {
        let prompt = prompts[answers.count]
        answers.append(
          ChoiceAnswer(
            subject: prompt.subject, question: prompt.question,
            logits: letterTokens.map { logits[row * vocabulary + Int($0)] }, promptTokens: prompt.tokens.count,
            exampleCount: prompt.exampleCount))
      }
      try progress(answers.count)
    }
    return answers
  }
}
