import Corpus
import Model
import Processes
import Rewards
import Storage

/// The source of a run that learns from its own answers. For a step, or for several passes, it has the model as it is
/// write answers to the next prompts, scores them, and packs them into micro-batches.
///
/// Nothing of an answer is kept on the disk: seed, weights and place in the data make the same answers again, to the bit.
/// So a run can be saved only where the next step begins with new answers.
package final class RolloutSource: BatchSource {
  private let plan: TrainingPlan
  private let engine: any TrainingEngine
  /// Nil where answers are compared with each other, rather than with what they were expected to be worth.
  private let valueHead: ValueHead?
  private let exchange: ProcessExchange
  private let scorer: AnswerScorer
  /// The model at the start; nil without a divergence from it.
  private let reference: (any TrainingEngine)?
  private let tasks: [TaskDocuments.Entry]
  private var prompts: BatchSequence
  private var batches: [Batch] = []
  private var cursor = 0
  private var passesLeft = 0

  package let documentsPerSample = 1
  package var position: BatchPosition { prompts.position }
  package var mayPause: Bool { passesLeft == 0 }

  /// - Throws: what is wrong with the tasks or the rewards; `OutOfMemoryError` for the model at the start.
  init(_ context: StageContext) throws {
    plan = context.plan
    engine = context.engine
    valueHead = context.valueHead
    exchange = context.exchange
    scorer = try AnswerScorer(context)
    tasks = try TaskDocuments(plan.dataset).training
    prompts = try BatchSequence(
      plan.dataset.training, sequenceLength: plan.sequenceLength,
      shuffleSeed: UInt64(truncatingIfNeeded: plan.settings.seed), position: context.position)
    reference =
      plan.settings.divergence > 0
      ? try context.engines.makeEngine(.whole(plan.makeStartParameters()), plan.engineSettings().withoutTraining) : nil
  }

  package func prepareStep() throws -> [Int] {
    if passesLeft == 0 {
      batches = try write()
      passesLeft = plan.settings.passes
    }
    passesLeft -= 1
    cursor = 0
    return batches.map(\.tokenCount)
  }

  package func next(into batch: inout Batch) {
    batch = batches[cursor]
    cursor += 1
  }

  package func skip() { cursor += 1 }

  // MARK: - Answers

  private func write() throws -> [Batch] {
    let settings = plan.settings
    let groupSize = settings.answersPerPrompt
    var numbers: [Int] = []
    var requests: [AnswerRequest] = []
    for _ in 0..<settings.promptsPerStep {
      var random = SplitMix64(
        seed: UInt64(truncatingIfNeeded: settings.seed) &* 0x9E37_79B9_7F4A_7C15
          &+ UInt64(position.epoch) &* 0xD1B5_4A32_D192_ED03 &+ UInt64(position.document))
      let (number, prompt) = prompts.nextDocument()
      for _ in 0..<groupSize {
        numbers.append(number)
        requests.append(
          AnswerRequest(
            prompt: prompt, maximumTokens: settings.answerTokens, temperature: settings.temperature,
            topK: settings.topK, topP: settings.topP, seed: random.next(), tools: tasks[number].tools))
      }
    }
    let scored = try scorer.write(requests, tasks: numbers.map { tasks[$0] }, with: engine)
    let rewards = scored.map(\.reward)
    // Those of values are found when the batches are there that values are computed of.
    let (advantages, deviations) =
      valueHead == nil
      ? PolicyLoss.advantages(rewards, groupSize: groupSize, scale: settings.rewardScale)
      : ([], PolicyLoss.advantages(rewards, groupSize: rewards.count, scale: .none).deviations)
    var packed: [Batch] = []
    var batch = Batch()
    var members: [Int] = []
    func close() {
      guard !members.isEmpty else { return }
      fillColumns(&batch, members.map { scored[$0] }, requests, members, advantages, deviations)
      packed.append(batch)
      (batch, members) = (Batch(), [])
    }
    for (index, answer) in scored.map(\.written).enumerated() {
      let prompt = requests[index].prompt
      let tokens = prompt + answer.tokens
      if batch.tokenCount + tokens.count - 1 > settings.microBatchTokens { close() }
      let counts = !(settings.maskTruncated && answer.isTruncated)
      batch.append(document: tokens, number: numbers[index]) { place in
        counts && place >= prompt.count && !answer.inserted.contains { $0.contains(place - prompt.count) }
      }
      members.append(index)
    }
    close()
    if let reference { addLogProbabilities(.referenceLogProbability, of: reference, to: &packed) }
    if let valueHead {
      addColumns([.oldLogProbability, .oldValue], to: &packed) { [engine] batch in
        guard let engine = engine as? any ValuingEngine else { preconditionFailure("an engine without values") }
        let found = engine.forward(batch, valueHead: valueHead.weights)
        return [found.losses.values.map { -$0 }, found.values]
      }
      AdvantageEstimation(settings).fill(&packed)
    } else if settings.passes > 1 {
      addLogProbabilities(.oldLogProbability, of: engine, to: &packed)
    }
    return packed
  }

  /// - Parameters:
  ///   - advantages: [requests], or none where they are found later.
  ///   - deviations: of the rewards of each group, or of all.
  private func fillColumns(
    _ batch: inout Batch, _ answers: [ScoredAnswer], _ requests: [AnswerRequest], _ members: [Int],
    _ advantages: [Double], _ deviations: [Double]
  ) {
    var written = [Float](repeating: 0, count: batch.tokenCount)
    var ofTokens = written
    for (document, answer) in answers.enumerated() {
      let rows = batch.rows(ofDocument: document)
      // The row that reads the last token of the prompt predicts the first of the answer.
      let first = rows.lowerBound + requests[members[document]].prompt.count - 1
      for (offset, value) in answer.written.logProbabilities.enumerated() { written[first + offset] = value }
      if !advantages.isEmpty { for row in rows { ofTokens[row] = Float(advantages[members[document]]) } }
    }
    batch[.writtenLogProbability] = written
    batch[.totalReward] = answers.map { Float($0.reward) }
    if valueHead == nil {
      let groups = members.map { $0 / plan.settings.answersPerPrompt }
      batch[.advantage] = ofTokens
      batch[.groupDeviation] = groups.map { Float(deviations[$0]) }
      batch[.isGroupEqual] = groups.map { deviations[$0] == 0 ? 1 : 0 }
    } else {
      batch[.groupDeviation] = members.map { _ in Float(deviations[0]) }
    }
    batch[.answerLength] = answers.map { Float($0.written.chosenCount) }
    batch[.isTruncated] = answers.map { $0.written.isTruncated ? 1 : 0 }
    for (place, name) in scorer.names.enumerated() { batch[.reward(name)] = answers.map { Float($0.parts[place]) } }
  }

  private func addLogProbabilities(_ column: TokenColumn, of engine: any TrainingEngine, to batches: inout [Batch]) {
    addColumns([column], to: &batches) { [engine.forward($0, lossWeights: nil).values.map { -$0 }] }
  }

  /// Each process computes some of the batches, and all get the sum, of which the others' part is 0.
  private func addColumns(
    _ columns: [TokenColumn], to batches: inout [Batch], _ values: (Batch) -> [[Float]]
  ) {
    for index in batches.indices {
      let zeros = [Float](repeating: 0, count: batches[index].tokenCount)
      var found = columns.map { _ in zeros }
      if index % exchange.count == exchange.rank { found = values(batches[index]) }
      for (column, values) in zip(columns, found) {
        batches[index][column] =
          exchange.isAlone ? values : exchange.sum(values.map(Double.init)).map { Float($0) }
      }
    }
  }
}
