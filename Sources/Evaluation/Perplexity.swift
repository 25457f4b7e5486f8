import Corpus
import Foundation
import Machine
import Model
import Tokenization

/// How well a model predicts text: the sums that loss, perplexity and bits per byte come from.
package struct Perplexity: Sendable, Equatable {
  /// Σ loss over the predicted tokens, in nats.
  package private(set) var lossSum = 0.0
  /// Tokens that were predicted: all of a document but its first, the end of the document included.
  package private(set) var tokens = 0
  /// UTF-8 bytes of the texts.
  package private(set) var textBytes = 0
  package private(set) var documents = 0

  package init() {}

  mutating func add(_ sum: LossSum) {
    lossSum += sum.loss
    tokens += Int(sum.weight)
  }

  mutating func addDocuments(_ count: Int, textBytes: Int) {
    documents += count
    self.textBytes += textBytes
  }

  /// Nats a token.
  package var loss: Double { lossSum / Double(tokens) }
  /// e to the loss: among how many tokens the model is as unsure as if they were equally likely.
  package var perplexity: Double { exp(loss) }
  /// Bits a byte of text, comparable between tokenizers; the loss of the documents' ends is counted in.
  package var bitsPerByte: Double { lossSum / M_LN2 / Double(textBytes) }
}

/// Measures a model on documents, packed into batches without padding.
///
/// A document is `<s>` text `</s>`. One longer than a sequence is read in pieces of that length, each without what came
/// before it; every token but the first of the document is predicted once.
package final class PerplexityMeter {
  private let lossSum: (Batch) -> LossSum
  private let tokenizer: Tokenizer
  private let sequenceLength: Int
  private let batchTokens: Int
  private var batch = Batch()
  private var document: [Int32] = []
  private var result = Perplexity()
  /// Enough rows for the products to run at full speed.
  private static let leastBatchTokens = 2048

  /// Measures as training computes.
  ///
  /// - Parameters:
  ///   - tokenizer: its tokens are all in the model's vocabulary.
  ///   - sequenceLength: the most tokens that the model sees at once.
  ///   - rotaryScaling: the model's own when nil.
  ///   - engines: make the engine that computes.
  /// - Throws: `OutOfMemoryError`.
  package convenience init(
    _ parameters: Parameters, _ tokenizer: Tokenizer, precision: ElementType, sequenceLength: Int,
    rotaryScaling: RotaryScaling? = nil, engines: any TrainingEngineProvider
  ) throws {
    let engine = try engines.makeEngine(
      .whole(parameters),
      EngineSettings(
        precision: precision, maximumTokens: Self.batchTokens(sequenceLength), optimizer: nil,
        rotaryScaling: rotaryScaling))
    self.init(tokenizer, parameters.configuration, sequenceLength: sequenceLength) {
      engine.forward($0, lossWeights: nil).sum($0)
    }
  }

  /// Measures as answers are written, with the weights' type and the cache of a model in use. The most tokens that it sees
  /// at once are its context.
  ///
  /// - Parameter tokenizer: its tokens are all in the model's vocabulary.
  /// - Throws: `OutOfMemoryError`.
  package convenience init(_ model: any InferenceEngine, _ tokenizer: Tokenizer) throws(OutOfMemoryError) {
    let pool = try KeyValuePool(model, tokens: model.contextLength)
    self.init(tokenizer, model.configuration, sequenceLength: model.contextLength) { model.lossSum($0, pool) }
  }

  private init(
    _ tokenizer: Tokenizer, _ configuration: ModelConfiguration, sequenceLength: Int,
    lossSum: @escaping (Batch) -> LossSum
  ) {
    precondition(
      tokenizer.vocabularySize <= configuration.vocabularySize,
      "a tokenizer of \(tokenizer.vocabularySize) for \(configuration.vocabularySize)")
    self.tokenizer = tokenizer
    self.sequenceLength = sequenceLength
    self.lossSum = lossSum
    batchTokens = Self.batchTokens(sequenceLength)
  }

  private static func batchTokens(_ sequenceLength: Int) -> Int { max(sequenceLength, leastBatchTokens) }

  /// Adds a text, UTF-8.
  ///
  /// - Throws: `TokenizerError`.
  package func add(_ text: UnsafeRawBufferPointer) throws {
    document.removeAll(keepingCapacity: true)
    document.append(contentsOf: tokenizer.beginTokens)
    try tokenizer.encode(text, into: &document, specialTokens: .asText)
    document.append(tokenizer.endToken)
    result.addDocuments(1, textBytes: text.count)
    var start = 0
    while start + 1 < document.count {
      let count = min(sequenceLength, document.count - 1 - start)
      if batch.tokenCount + count > batchTokens { evaluate() }
      batch.append(document: document[start...start + count])
      start += count
    }
  }

  /// Adds all documents of a split; of conversations, the tokens that are trained on.
  ///
  /// - Parameter progress: called after each batch with the tokens read so far; what it throws ends the reading.
  package func add(_ split: TokenSplit, progress: (_ tokens: Int) throws -> Void = { _ in }) throws {
    evaluate()
    var tokens = 0
    let read = try split.forEachBatch(
      sequenceLength: sequenceLength, batchTokens: batchTokens, using: &batch
    ) { batch in
      measure(batch)
      tokens += batch.tokenCount
      try progress(tokens)
    }
    result.addDocuments(read.documents, textBytes: read.textBytes)
  }

  /// The measure of all that was added.
  ///
  /// - Returns: nil when nothing was predicted.
  package func finish() -> Perplexity? {
    evaluate()
    return result.tokens > 0 && result.textBytes > 0 ? result : nil
  }

  private func evaluate() {
    if batch.tokenCount > 0 { measure(batch) }
    batch.removeAll(reserving: batchTokens)
  }

  private func measure(_ batch: Batch) { result.add(lossSum(batch)) }
}
