import Corpus
import Foundation
import Model
import Processes
import Storage

/// What the model that a run began with thinks of every document: Σ log-probability of its trained tokens, in nats.
///
/// Computed once, before the first step, and kept as `RUN/reference.json`: a second model beside the one in training
/// would double the forward passes and the weights in memory.
struct ReferenceLogProbabilities: Codable, Equatable {
  static let fileName = "reference.json"

  /// `TrainingPlan.startModelHash` of the run, and SHA-256 of the data's manifest.
  var modelHash: String
  var dataManifestHash: String
  /// By the document's number.
  var training: [Double]
  var heldOut: [Double]
  /// The same of the answers of `MismatchedAnswers`, in either split; only where the stage asks for them.
  var mismatched: [[Double]]?

  private static func path(of run: RunDirectory) -> String { run.path + "/" + fileName }

  /// From the run's directory, or computed and kept there.
  ///
  /// - Parameter withMismatched: also of prompts with answers to other prompts.
  /// - Returns: nil when any rank was stopped.
  /// - Throws: `TrainingError` as below.
  static func prepared(_ context: StageContext, withMismatched: Bool = false) throws -> ReferenceLogProbabilities? {
    let (plan, exchange) = (context.plan, context.exchange)
    let saved = try ReferenceLogProbabilities(of: context.run, plan, withMismatched: withMismatched)
    guard exchange.any(saved == nil) else { return saved }
    // Without a checkpoint the model in training is still the one that it began as.
    let reference =
      plan.checkpoint == nil
      ? context.engine
      : try context.engines.makeEngine(.whole(plan.makeStartParameters()), plan.engineSettings().withoutTraining)
    var values = try ReferenceLogProbabilities(plan, engine: reference, exchange: exchange) { share in
      try context.progress("log-probabilities of the model as it is", share)
    }
    if withMismatched, values != nil {
      values?.mismatched = try mismatched(plan, engine: reference, exchange: exchange) { share in
        try context.progress("log-probabilities of answers to other prompts", share)
      }
      guard values?.mismatched != nil else { return nil }
    }
    if exchange.isFirst { try values?.write(to: context.run) }
    return values
  }

  /// Reads all documents.
  ///
  /// - Parameters:
  ///   - engine: of the reference.
  ///   - exchange: with those that share the batches out.
  ///   - progress: gets the share that is done, after each batch; stops the reading by giving false.
  /// - Returns: nil when any rank was stopped.
  /// - Throws: `TrainingError` when a log-probability is not a finite number; what `progress` throws.
  init?(
    _ plan: TrainingPlan, engine: any TrainingEngine, exchange: ProcessExchange,
    progress: (_ share: Double) throws -> Bool
  ) throws {
    modelHash = plan.startModelHash ?? ""
    dataManifestHash = plan.dataManifestHash
    let splits = [plan.dataset.training, plan.dataset.heldOut]
    let total = splits.reduce(0) { $0 + $1.inputTokenCount }
    var batch = Batch()
    var tokens = 0
    var sums = splits.map { [Double](repeating: 0, count: $0.documentCount) }
    var isStopped = false
    do {
      for (place, split) in splits.enumerated() {
        _ = try split.forEachBatch(
          sequenceLength: plan.sequenceLength, batchTokens: plan.microBatchTokens,
          share: BatchShare(rank: exchange.rank, count: exchange.count), using: &batch
        ) { batch in
          let losses = engine.forward(batch, lossWeights: nil)
          for (number, sum) in zip(batch.documentNumbers, losses.documentSums(batch)) {
            sums[place][number] -= sum.loss
          }
          tokens += batch.tokenCount
          guard try progress(Double(tokens * exchange.count) / Double(max(1, total))) else { throw Stopped() }
        }
      }
    } catch is Stopped { isStopped = true }
    guard !exchange.any(isStopped) else { return nil }
    // Each document is in one rank's batches, and 0 in the others.
    training = exchange.sum(sums[0])
    heldOut = exchange.sum(sums[1])
    guard (training + heldOut).allSatisfy(\.isFinite) else { throw Self.nonFinite }
  }

  private static let nonFinite = TrainingError(
    "the model that the run begins with gives a log-probability that is not a finite number. "
      + "Begin with another --from, or try --precision fp32.")

  /// Of all prompts of either split with answers to others; nil when any rank was stopped.
  private static func mismatched(
    _ plan: TrainingPlan, engine: any TrainingEngine, exchange: ProcessExchange,
    progress: (_ share: Double) throws -> Bool
  ) throws -> [[Double]]? {
    var all: [[Double]] = []
    let splits = [plan.dataset.training, plan.dataset.heldOut]
    let total = Double(max(1, splits.reduce(0) { $0 + $1.documentCount }))
    var before = 0
    for split in splits {
      // Each rank takes consecutive documents.
      let count = split.documentCount
      let own = count * exchange.rank / exchange.count..<count * (exchange.rank + 1) / exchange.count
      let found = try plan.mismatchedAnswers(split).logProbabilities(own, by: engine) { done in
        try progress((Double(before) + Double(done * exchange.count)) / total)
      }
      guard !exchange.any(found == nil), let found else { return nil }
      var sums = [Double](repeating: 0, count: count)
      sums.replaceSubrange(own, with: found)
      all.append(exchange.sum(sums))
      before += count
    }
    guard all.joined().allSatisfy(\.isFinite) else { throw nonFinite }
    return all
  }

  /// Reads the file of a run.
  ///
  /// - Returns: nil when there is none.
  /// - Throws: `TrainingError` when it is damaged, or of another model or other data.
  init?(of run: RunDirectory, _ plan: TrainingPlan, withMismatched: Bool = false) throws {
    let path = Self.path(of: run)
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let bytes = try MappedFile.contents(of: path)
    guard let values = try? JSONDecoder().decode(Self.self, from: Data(bytes)),
      values.modelHash == plan.startModelHash, values.dataManifestHash == plan.dataManifestHash,
      values.training.count == plan.dataset.training.documentCount,
      values.heldOut.count == plan.dataset.heldOut.documentCount,
      values.mismatched?.map(\.count)
        == (withMismatched ? [values.training.count, values.heldOut.count] : nil),
      (values.training + values.heldOut + (values.mismatched ?? []).joined()).allSatisfy(\.isFinite)
    else {
      throw TrainingError(
        "\(path) is damaged, or of another model or other data than this run's. Remove it: it will be computed again.")
    }
    self = values
  }

  func write(to run: RunDirectory) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    try AtomicFile.write(Array(try encoder.encode(self)), to: Self.path(of: run))
  }
}
