import Corpus
import Foundation
import Model
import Processes
import Rewards

/// An answer of the model in training, and what it is worth.
struct ScoredAnswer {
  var tokens: [Int32] = []
  /// Places in `tokens` that the model did not choose.
  var inserted: [Range<Int>] = []
  /// [tokens] when each was written.
  var logProbabilities: [Float] = []
  var isTruncated = false
  var reward = 0.0
  /// [rewards] without their weights.
  var parts: [Double] = []

  /// Tokens that the model chose.
  var chosenCount: Int { tokens.count - inserted.reduce(0) { $0 + $1.count } }
}

/// Has the model in training write answers, and scores them; several processes share both.
final class AnswerScorer {
  private let writer: any RolloutWriter
  private let rewards: RewardSum
  private let exchange: ProcessExchange
  /// Asked while answers are written.
  var isWanted: () -> Bool = { true }
  /// The texts of this process's answers by the number of the request, of the last writing.
  private(set) var texts: [Int: String] = [:]

  /// - Throws: `RewardError` for rewards that there are not.
  init(_ context: StageContext) throws {
    guard let writer = context.writer else {
      preconditionFailure("a run that learns from its own answers without a writer of them")
    }
    self.writer = writer
    exchange = context.exchange
    rewards = try context.plan.settings.rewardSum()
  }

  var names: [String] { rewards.parts.map(\.reward.name) }

  /// - Parameter tasks: [requests] what is asked.
  /// - Returns: [requests], the same in all processes.
  /// - Throws: `RewardError`; `Stopped` when `isWanted` says so.
  func write(
    _ requests: [AnswerRequest], tasks: [TaskDocuments.Entry], with engine: any TrainingEngine
  ) throws -> [ScoredAnswer] {
    let own = requests.indices.filter { $0 % exchange.count == exchange.rank }
    let written =
      own.isEmpty
      ? []
      : try writer.write(own.map { requests[$0] }, with: engine) { [isWanted] _ in
        if !isWanted() { throw Stopped() }
      }
    texts = Dictionary(uniqueKeysWithValues: zip(own, written.map { $0.earlierText + $0.text }))
    let (totals, parts) = try rewards.scores(
      zip(own, written).map { index, answer in
        AnswerToScore(
          tasks[index].task, text: answer.text, opensReasoning: tasks[index].opensReasoning,
          tokenCount: answer.chosenCount, tokenLimit: requests[index].maximumTokens, isTruncated: answer.isTruncated)
      })
    var scored = [ScoredAnswer](repeating: ScoredAnswer(), count: requests.count)
    for (place, index) in own.enumerated() {
      scored[index] = ScoredAnswer(
        tokens: written[place].tokens, inserted: written[place].inserted,
        logProbabilities: written[place].logProbabilities,
        isTruncated: written[place].isTruncated, reward: totals[place], parts: parts.map { $0[place] })
    }
    return exchange.isAlone ? scored : share(scored, requests)
  }

  /// Gives all processes all answers: a row of numbers each, 0 in the processes that have not written it.
  private func share(_ scored: [ScoredAnswer], _ requests: [AnswerRequest]) -> [ScoredAnswer] {
    let room = requests.map(\.maximumTokens).max() ?? 0
    let width = 3 + names.count + 3 * room
    var numbers = [Double](repeating: 0, count: width * scored.count)
    for (index, answer) in scored.enumerated() where !answer.tokens.isEmpty {
      let row =
        [Double(answer.tokens.count), answer.isTruncated ? 1 : 0, answer.reward] + answer.parts
        + answer.tokens.map(Double.init)
      numbers.replaceSubrange(index * width..<index * width + row.count, with: row)
      let probabilities = answer.logProbabilities.map(Double.init)
      let start = index * width + 3 + names.count + room
      numbers.replaceSubrange(start..<start + probabilities.count, with: probabilities)
      for place in answer.inserted.joined() { numbers[start + room + place] = 1 }
    }
    numbers = exchange.sum(numbers)
    return scored.indices.map { index in
      let row = numbers[index * width..<(index + 1) * width].map { $0 }
      let count = Int(row[0])
      let tokens = 3 + names.count
      return ScoredAnswer(
        tokens: row[tokens..<tokens + count].map { Int32($0) },
        inserted: (0..<count).filter { row[tokens + 2 * room + $0] > 0 }.map { $0..<$0 + 1 },
        logProbabilities: row[tokens + room..<tokens + room + count].map { Float($0) }, isTruncated: row[1] > 0,
        reward: row[2], parts: Array(row[3..<tokens]))
    }
  }
}

/// The rewards of the likeliest answers to held-out prompts; what is minimised is minus their mean.
final class HeldOutRewards: HeldOutEvaluator {
  private let plan: TrainingPlan
  private let scorer: AnswerScorer
  private let exchange: ProcessExchange
  private let requests: [AnswerRequest]
  private let tasks: [TaskDocuments.Entry]
  /// The most prompts: some hundreds tell a few hundredths of the reward apart.
  private static let mostPrompts = 256
  private static let shownAnswers = 3

  init(_ context: StageContext) throws {
    plan = context.plan
    exchange = context.exchange
    scorer = try AnswerScorer(context)
    let heldOut = plan.dataset.heldOut
    let tasks = Array(try TaskDocuments(plan.dataset).heldOut.prefix(Self.mostPrompts))
    self.tasks = tasks
    requests = tasks.indices.map { number in
      let (shard, document) = heldOut.locate(number)
      return AnswerRequest(
        prompt: shard.tokenRange(ofDocument: document).map(shard.token),
        maximumTokens: context.plan.settings.answerTokens,
        temperature: 0, topK: 0, topP: 1, seed: 0, tools: tasks[number].tools)
    }
  }

  func evaluate(
    _ engine: any TrainingEngine, step: Int, isWanted: () -> Bool
  ) throws -> (evaluation: Evaluation, samples: SampleReport)? {
    guard !requests.isEmpty else { return nil }
    var scored: [ScoredAnswer] = []
    var isStopped = false
    try withoutActuallyEscaping(isWanted) { isWanted in
      scorer.isWanted = isWanted
      defer { scorer.isWanted = { true } }
      do { scored = try scorer.write(requests, tasks: tasks, with: engine) } catch is Stopped { isStopped = true }
    }
    guard !exchange.any(isStopped) else { throw Stopped() }
    let count = Double(scored.count)
    func sum(_ value: (ScoredAnswer) -> Double) -> Double { scored.reduce(0) { $0 + value($1) } }
    var sums = MetricSums()
    sums.add(Metric.loss.name, -sum(\.reward), weight: count)
    sums.add("reward", sum(\.reward), weight: count)
    sums.add("completions/mean_length", sum { Double($0.chosenCount) }, weight: count)
    sums.add("completions/clipped_ratio", sum { $0.isTruncated ? 1 : 0 }, weight: count)
    for (place, name) in scorer.names.enumerated() {
      sums.add(PolicyObjective.metricName(name), sum { $0.parts[place] }, weight: count)
    }
    let samples = scorer.texts.sorted { $0.key < $1.key }.prefix(Self.shownAnswers).map { index, text in
      let reward = String(format: "%.3f", scored[index].reward)
      return (
        prompt: tasks[index].task.messages.last?.content ?? "", continuation: "\(text)  (reward \(reward))"
      )
    }
    return (
      Evaluation(
        step: step, loss: -sum(\.reward) / count, bitsPerByte: nil, tokens: scored.count, sums: sums),
      SampleReport(step: step, samples: samples)
    )
  }
}
