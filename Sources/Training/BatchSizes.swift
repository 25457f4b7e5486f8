import Corpus
import Model

/// How many tokens a step, a micro-batch and a sequence of a run have at most: as asked for, or to suit the data.
struct BatchSizes: Sendable {
  let batch: Int
  let microBatch: Int
  let sequence: Int
  private let scores: Bool
  /// Of a stage that learns from its own answers: the prompts that they are to, and how many steps they serve for.
  private let answered: (prompts: Int, passes: Int)?

  /// The batch is the largest power of two from 2048 to 16384 tokens that still gives the run 500 steps: few data are
  /// better spent on more and smaller steps.
  ///
  /// - Parameter data: the path, for errors.
  /// - Throws: `TrainingError` when pairs do not fit into what was asked for, or into the model.
  init(
    _ asked: TrainingSettings, _ stage: Stage, _ configuration: ModelConfiguration, _ dataset: TokenShardDataset,
    data: String
  ) throws(TrainingError) {
    var asked = asked
    scores = stage.scores
    if !stage.readsDocuments {
      try asked.fitAnswers(stage, dataset, configuration, data: data)
    } else if !dataset.manifest.kind.canBeCut {
      try asked.fitSamples(dataset, configuration, scores: stage.scores, data: data)
    }
    let epochs = asked.epochs ?? stage.defaultEpochs
    let runTokens = dataset.training.inputTokenCount.multipliedReportingOverflow(by: epochs).partialValue
    let batch =
      asked.batchTokens
      ?? max(
        [16384, 8192, 4096].first { runTokens / $0 >= 500 } ?? 2048, asked.microBatchTokens ?? 0,
        asked.sequenceLength ?? 0)
    asked.batchTokens = batch
    self.batch = batch
    let list = SettingList.shared
    answered =
      stage.readsDocuments
      ? nil
      : (
        asked.promptsPerStep ?? list.promptsPerStep.standard(of: stage), asked.passes ?? list.passes.standard(of: stage)
      )
    microBatch = asked.microBatchTokens ?? asked.defaultMicroBatch
    sequence = min(
      asked.sequenceLength ?? dataset.manifest.teacher?.sequenceLength ?? ResolvedSettings.usualSequenceLength,
      configuration.contextLength, microBatch)
  }

  /// The steps of a run that has come to `progress`. Packs the rest of its epochs without reading a token, since the
  /// schedule needs to know where the end is.
  func stepCount(
    _ length: ResolvedSettings.Length, _ dataset: TokenShardDataset, seed: Int, from progress: RunProgress
  ) throws -> Int {
    if case .steps(let count) = length { return count }
    if let answered {
      guard case .epochs(let epochs) = length else { preconditionFailure("a run without a length") }
      let (documents, position) = (dataset.training.documentCount, progress.position)
      let left = max(0, epochs * documents - position.epoch * documents - position.document)
      return progress.step + (left + answered.prompts - 1) / answered.prompts * answered.passes
    }
    var source = try ShardSource(
      dataset.training, documentsPerSample: dataset.manifest.kind.documentsPerSample, scores: scores, self, length,
      seed: seed,
      position: progress.position)
    var steps = progress.step
    while !source.isAtEnd {
      source.skipStep()
      steps += 1
    }
    return steps
  }
}

extension TrainingSettings {
  /// Chooses sequence length and micro-batch so that the longest prompt has room for an answer.
  ///
  /// - Throws: when they were given and are too small, or the model's context is.
  fileprivate mutating func fitAnswers(
    _ stage: Stage, _ dataset: TokenShardDataset, _ configuration: ModelConfiguration, data: String
  ) throws(TrainingError) {
    let list = SettingList.shared
    let prompt = max(dataset.training.longestInput, dataset.heldOut.longestInput) + 1
    let answer = self.answerTokens ?? list.answerTokens.standard(of: stage)
    let longest = prompt + answer
    guard longest <= min(configuration.contextLength, self.sequenceLength ?? .max) else {
      let limit = self.sequenceLength.map { "--sequence-length \($0)" }
      throw TrainingError(
        "\(data) holds a prompt of \(prompt) tokens, which with an answer of --answer-tokens \(answer) is longer than "
          + (limit ?? "the model's \(configuration.contextLength) (\(configuration.contextSetting))")
          + ". Lower --answer-tokens, or prepare the data with a lower --max-tokens.")
    }
    let length = self.sequenceLength ?? longest
    let microBatch = self.microBatchTokens ?? max(ResolvedSettings.usualMicroBatch, length)
    guard length <= microBatch else {
      throw TrainingError(
        "--micro-batch-tokens \(microBatch) has no room for a prompt with its answer, up to \(length) tokens. Raise it."
      )
    }
    let answers =
      (self.promptsPerStep ?? list.promptsPerStep.standard(of: stage))
      * (self.answersPerPrompt ?? list.answersPerPrompt.standard(of: stage))
    self.sequenceLength = length
    self.microBatchTokens = microBatch
    self.batchTokens = max(microBatch, answers * length)
  }

  /// Chooses sequence length and micro-batch, where they were left out, so that every sample whose documents are not cut,
  /// such as a pair, goes into one micro-batch whole.
  ///
  /// - Throws: `TrainingError` when they were given and are too small, or the model cannot read the longest document.
  fileprivate mutating func fitSamples(
    _ dataset: TokenShardDataset, _ configuration: ModelConfiguration, scores: Bool, data: String
  ) throws(TrainingError) {
    let longest =
      max(dataset.training.longestInput, dataset.heldOut.longestInput) + (scores ? 1 : 0)
    guard longest <= configuration.contextLength else {
      throw TrainingError(
        "\(data) holds an answer with its prompt of \(longest) tokens, the model reads "
          + "\(configuration.contextLength) (\(configuration.contextSetting)). Prepare it with a lower --max-tokens.")
    }
    let length = self.sequenceLength ?? longest
    guard longest <= length else {
      throw TrainingError(
        "\(data) holds an answer with its prompt of \(longest) tokens, more than --sequence-length \(length), and answers "
          + "are not cut. Raise it, or prepare the data with a lower --max-tokens.")
    }
    let room = dataset.manifest.kind.documentsPerSample * length
    let microBatch = self.microBatchTokens ?? min(max(ResolvedSettings.usualMicroBatch, room), self.batchTokens ?? .max)
    guard room <= microBatch else {
      let option = self.microBatchTokens == nil ? "--batch-tokens" : "--micro-batch-tokens"
      throw TrainingError(
        "\(dataset.manifest.kind == .dpo ? "a pair" : "an answer") takes up to \(room) tokens, more than \(option) \(microBatch). Raise that, or prepare the data with a "
          + "lower --max-tokens.")
    }
    self.sequenceLength = length
    self.microBatchTokens = microBatch
  }
}
