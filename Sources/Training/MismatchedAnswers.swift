import Corpus
import Model

/// The prompts of a split, each followed by the answer to another one: what KTO measures the model's drift by.
package struct MismatchedAnswers: Sendable {
  private let split: TokenSplit
  private let sequenceLength: Int
  private let batchTokens: Int

  /// - Parameters:
  ///   - sequenceLength: the most tokens of a prompt with its answer; longer ones are cut.
  ///   - batchTokens: the most tokens that go through the model at once, at least `sequenceLength`.
  package init(_ split: TokenSplit, sequenceLength: Int, batchTokens: Int) {
    precondition(sequenceLength <= batchTokens, "sequences of \(sequenceLength) in batches of \(batchTokens)")
    self.split = split
    self.sequenceLength = sequenceLength
    self.batchTokens = batchTokens
  }

  /// Σ log-probability of the answer's tokens after each of some prompts.
  ///
  /// - Parameter numbers: of the prompts' documents.
  package func logProbabilities(_ numbers: some Collection<Int>, by engine: any TrainingEngine) -> [Double] {
    logProbabilities(numbers, by: engine) { _ in true } ?? []
  }

  /// The same, as long as it is wanted.
  ///
  /// - Parameters:
  ///   - numbers: of the prompts' documents.
  ///   - isWanted: asked after each batch whether to go on, with the documents that are done.
  /// - Returns: nil when it was not.
  /// - Throws: what `isWanted` throws.
  package func logProbabilities<Failure: Error>(
    _ numbers: some Collection<Int>, by engine: any TrainingEngine,
    isWanted: (_ done: Int) throws(Failure) -> Bool
  ) throws(Failure) -> [Double]? {
    var sums: [Double] = []
    var batch = Batch()
    batch.removeAll(reserving: batchTokens)
    /// Takes the batch, if there is one, through the model.
    func measure() throws(Failure) -> Bool {
      guard batch.documentCount > 0 else { return true }
      sums += engine.forward(batch, lossWeights: nil).documentSums(batch).map { -$0.loss }
      batch.removeAll(reserving: batchTokens)
      return try isWanted(sums.count)
    }
    for number in numbers {
      let count = split.mismatchedTokenCount(number, maximumTokens: sequenceLength)
      if batch.tokenCount + count > batchTokens { guard try measure() else { return nil } }
      split.appendMismatched(number, maximumTokens: sequenceLength, to: &batch)
    }
    return try measure() ? sums : nil
  }
}
