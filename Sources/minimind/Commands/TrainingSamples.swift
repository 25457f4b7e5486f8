import Compute
import CPUEngine
import Generation
import Model
import ModelFiles
import Tokenization
import Training

/// The continuations of `--sample-prompt` by a model in training: greedy, so that differences come from the model.
struct TrainingSamples {
  private let tokenizer: Tokenizer
  private let team: WorkerTeam
  /// Each text as the model is to read it: the beginning of a document, or a question.
  private let prompts: [[Int32]]
  private static let maximumTokens = 48

  /// - Throws: `CommandError` for a text that does not fit into the model's context; what is wrong with a chat template.
  init(_ plan: TrainingPlan, team: WorkerTeam) throws {
    let tokenizer = plan.tokenizer
    self.tokenizer = tokenizer
    self.team = team
    let texts = plan.settings.samplePrompt
    if plan.stage.modelsAnswer, !texts.isEmpty {
      let template = try ChatTemplate(TokenizerFiles(plan.tokenizerDirectory))
      prompts = try texts.map { text in
        try template.prompt([ChatMessage(role: .user, content: text)], with: tokenizer).tokens
      }
    } else {
      prompts = try texts.map { tokenizer.beginTokens + (try tokenizer.encode($0, specialTokens: .asText)) }
    }
    for (text, prompt) in zip(texts, prompts) where prompt.count >= plan.configuration.contextLength {
      throw CommandError(
        "--sample-prompt \"\(text.prefix(30))…\" has \(prompt.count) tokens and the model's context "
          + "\(plan.configuration.contextLength). Give a shorter one.")
    }
  }

  /// Bytes that sampling takes while it lasts: a copy of the model.
  static func memoryBytes(_ plan: TrainingPlan) -> Int {
    plan.settings.samplePrompt.isEmpty ? 0 : CPUInferenceEngine.memoryBytes(plan.configuration, type: .bfloat16)
  }

  func continuations(_ trained: any TrainingEngine) throws -> [String] {
    let model = try CPUInferenceEngine(trained, type: .bfloat16, team: team)
    let engine = try BatchEngine(model, tokenizer)
    return prompts.map { prompt in
      var request = GenerationRequest(prompt: prompt)
      request.sampling.temperature = 0
      request.maximumTokens = Self.maximumTokens
      return Generator(engine, request).map(\.text).joined()
    }
  }
}
