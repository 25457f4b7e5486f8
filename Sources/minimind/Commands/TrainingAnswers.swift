import CPUEngine
import Compute
import Generation
import Model
import Tokenization
import Training

/// The answers of a model in training, many at once, by a copy of its weights that is made for them.
final class TrainingAnswers: RolloutWriter {
  private let tokenizer: Tokenizer
  private let team: WorkerTeam
  private let type: WeightType

  init(_ plan: TrainingPlan, team: WorkerTeam) {
    tokenizer = plan.tokenizer
    self.team = team
    type = Self.type(plan)
  }

  private static func type(_ plan: TrainingPlan) -> WeightType {
    WeightType(rawValue: plan.settings.answerPrecision.rawValue) ?? .float32
  }

  /// Bytes of the copy, and of the keys and values of all answers; 0 for a stage that writes none.
  static func memoryBytes(_ plan: TrainingPlan) -> Int {
    guard plan.writesAnswers else { return 0 }
    let type = type(plan)
    let ofStep = plan.stage.readsDocuments ? .max : plan.settings.promptsPerStep * plan.settings.answersPerPrompt
    let answers = min(ofStep, CPUInferenceEngine.limits.sequences)
    return CPUInferenceEngine.memoryBytes(plan.configuration, type: type)
      + CPUInferenceEngine.cacheByteCount(
        plan.configuration, type: type, tokens: answers * plan.settings.sequenceLength)
  }

  func write(
    _ requests: [AnswerRequest], with engine: any TrainingEngine, progress: (_ ended: Int) throws -> Void
  ) throws -> [AnswerTokens] {
    let model = try CPUInferenceEngine(engine, type: type, team: team)
    let longest = requests.map { $0.prompt.count + $0.maximumTokens }.max() ?? 1
    let writer = try BatchEngine(model, tokenizer, answers: requests.count, longest: longest)
    return try TaskAnswers.write(
      requests.map(Self.generation), tools: requests.map(\.tools), by: writer, progress: progress)
  }

  private static func generation(_ asked: AnswerRequest) -> GenerationRequest {
    var request = GenerationRequest(prompt: asked.prompt)
    request.maximumTokens = asked.maximumTokens
    request.sampling.temperature = Float(asked.temperature)
    (request.sampling.topK, request.sampling.topP, request.sampling.minP) = (asked.topK, Float(asked.topP), 0)
    request.sampling.repetitionPenalty = 1
    request.sampling.seed = asked.seed
    return request
  }
}
