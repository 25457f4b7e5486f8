import Corpus
import Foundation
import Model
import Processes
import Rewards

/// An answer of the model in training, and what it is worth.
struct ScoredAnswer {
  var written: AnswerTokens
  var reward: Double
  /// [rewards] without their weights.
  var parts: [Double]
}

/// Has the model in training write answers, and scores them; several processes share both.
final class AnswerScorer {
  private let writing: AnswerWriting
  private let rewards: RewardSum
  /// The texts of this process's answers by the number of the request, of the last writing.
  private(set) var texts: [Int: String] = [:]

  /// - Throws: `RewardError` for rewards that there are not.
  init(_ context: StageContext) throws {
    writing = AnswerWriting(context)
    rewards = try context.plan.settings.rewardSum()
  }

  var names: [String] { rewards.parts.map(\.reward.name) }

  /// Asked while answers are written.
  var isWanted: () -> Bool {
    get { writing.isWanted }
    set { writing.isWanted = newValue }
  }

  /// - Parameter tasks: [requests] what is asked.
  /// - Returns: [requests], the same in all processes.
  /// - Throws: `RewardError`; `Stopped` when `isWanted` says so.
  func write(
    _ requests: [AnswerRequest], tasks: [TaskDocuments.Entry], with engine: any TrainingEngine
  ) throws -> [ScoredAnswer] {
    let own = try writing.writeOwn(requests, with: engine)
    texts = Dictionary(uniqueKeysWithValues: own.map { ($0, $1.earlierText + $1.text) })
    let (totals, parts) = try rewards.scores(
      own.map { index, answer in
        AnswerToScore(
          tasks[index].task, text: answer.text, opensReasoning: tasks[index].opensReasoning,
          tokenCount: answer.chosenCount, tokenLimit: requests[index].maximumTokens, isTruncated: answer.isTruncated)
      })
    let numbers = own.indices.map { place in [totals[place]] + parts.map { $0[place] } }
    return writing.share(own, of: requests, numbers: numbers, numberCount: 1 + names.count).map { answer, numbers in
      ScoredAnswer(written: answer, reward: numbers[0], parts: Array(numbers.dropFirst()))
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
    sums.add("completions/mean_length", sum { Double($0.written.chosenCount) }, weight: count)
    sums.add("completions/clipped_ratio", sum { $0.written.isTruncated ? 1 : 0 }, weight: count)
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
