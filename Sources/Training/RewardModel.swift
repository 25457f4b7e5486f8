import Model

/// A model that gives conversations a score, as `minimind reward` trains it.
package final class RewardModel {
  private let engine: any TrainingEngine
  private let batchTokens: Int
  package let configuration: ModelConfiguration

  /// - Parameters:
  ///   - parameters: of a model that scores.
  ///   - batchTokens: the most tokens that go through it at once, at least those of the longest conversation.
  /// - Throws: `OutOfMemoryError`.
  package init(
    _ parameters: Parameters, precision: ElementType, batchTokens: Int,
    engines: any TrainingEngineProvider
  ) throws {
    precondition(parameters.configuration.scoresTexts, "a model that writes")
    configuration = parameters.configuration
    self.batchTokens = batchTokens
    engine = try engines.makeEngine(
      .whole(parameters),
      EngineSettings(precision: precision, maximumTokens: batchTokens, optimizer: nil))
  }

  /// The score after the last token of each text.
  ///
  /// - Parameters:
  ///   - texts: each of 1 to `batchTokens` tokens in the model's vocabulary.
  ///   - progress: called after each batch with the texts scored so far; what it throws ends the scoring.
  package func scores(
    of texts: [[Int32]], progress: (_ count: Int) throws -> Void = { _ in }
  ) rethrows -> [Double] {
    var scores: [Double] = []
    var batch = Batch()
    batch.removeAll(reserving: batchTokens)
    for (index, text) in texts.enumerated() {
      precondition(
        !text.isEmpty && text.count <= batchTokens,
        "a text of \(text.count) tokens, room for \(batchTokens)")
      batch.append(scored: text)
      let next = index + 1 < texts.count ? texts[index + 1].count : batchTokens
      guard batch.tokenCount + next > batchTokens else { continue }
      scores += engine.forward(batch, lossWeights: nil).documentSums(batch).map { -$0.loss }
      batch.removeAll(reserving: batchTokens)
      try progress(scores.count)
    }
    return scores
  }
}
