import Corpus
import Model

extension TrainingSettings {
  /// Chooses sequence length and micro-batch so that every pair goes into one whole, where they were left out.
  ///
  /// - Throws: `TrainingError` when they were given and are too small, or the model cannot read the longest document.
  mutating func fitPairs(_ dataset: TokenShardDataset, _ configuration: ModelConfiguration) throws(TrainingError) {
    let longest = max(dataset.training.longestInput, dataset.heldOut.longestInput)
    guard longest <= configuration.maximumSequenceLength else {
      throw TrainingError(
        "\(data) holds an answer with its prompt of \(longest) tokens, the model reads "
          + "\(configuration.maximumSequenceLength) (max_position_embeddings). Prepare it with a lower --max-tokens.")
    }
    let length = sequenceLength ?? longest
    guard longest <= length else {
      throw TrainingError(
        "\(data) holds an answer with its prompt of \(longest) tokens, more than --sequence-length \(length), and answers "
          + "are not cut. Raise it, or prepare the data with a lower --max-tokens.")
    }
    let room = dataset.manifest.kind.documentsPerSample * length
    let microBatch = microBatchTokens ?? min(max(2048, room), batchTokens ?? .max)
    guard room <= microBatch else {
      let option = microBatchTokens == nil ? "--batch-tokens" : "--micro-batch-tokens"
      throw TrainingError(
        "a pair takes up to \(room) tokens, more than \(option) \(microBatch). Raise that, or prepare the data with a lower --max-tokens."
      )
    }
    sequenceLength = length
    microBatchTokens = microBatch
  }
}
