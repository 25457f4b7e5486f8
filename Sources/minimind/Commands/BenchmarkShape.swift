import Corpus
import Model
import Training

/// What `bench train` computes, on whatever device: the model, and the micro-batches of one optimizer step.
struct BenchmarkShape {
  let model: String
  let configuration: ModelConfiguration
  let precision: ElementType
  let optimizer: OptimizerKind
  let microBatchTokens: Int
  let sequenceLength: Int
  let recomputes: Bool
  let batches: [Batch]

  var batchTokens: Int { batches.reduce(0) { $0 + $1.tokenCount } }

  /// - Parameter data: a directory of prepared data; nil for random full sequences.
  init(
    model: String, data: String?, precision: ElementType, optimizer: OptimizerKind, batchTokens: Int,
    microBatchTokens: Int, sequenceLength: Int, recomputes: Bool
  ) throws {
    var configuration = try modelConfiguration(model)
    if let data {
      let dataset = try TokenShardDataset(directory: data)
      guard dataset.manifest.pictures == nil else {
        throw CommandError("\(data) has pictures, and this measures texts. Give data without pictures.")
      }
      configuration.vocabularySize = dataset.manifest.vocabularySize
      var sequence = try BatchSequence(dataset.training, sequenceLength: sequenceLength, shuffleSeed: 1)
      batches = Self.batches(of: batchTokens, microBatchTokens) { _ = sequence.next(maximumTokens: $0, into: &$1) }
    } else {
      let vocabulary = Int32(configuration.vocabularySize)
      var generator = SystemRandomNumberGenerator()
      batches = Self.batches(of: batchTokens, microBatchTokens) { maximum, batch in
        batch.removeAll(reserving: maximum)
        for start in stride(from: 0, to: maximum, by: sequenceLength) {
          batch.append(
            count: min(sequenceLength, maximum - start) + 1,
            token: { _ in Int32.random(in: 0..<vocabulary, using: &generator) })
        }
      }
    }
    (self.model, self.configuration) = (model, configuration)
    (self.precision, self.optimizer, self.recomputes) = (precision, optimizer, recomputes)
    (self.microBatchTokens, self.sequenceLength) = (microBatchTokens, sequenceLength)
  }

  private static func batches(
    of batchTokens: Int, _ microBatchTokens: Int, _ fill: (_ maximumTokens: Int, inout Batch) -> Void
  ) -> [Batch] {
    (0..<batchTokens / microBatchTokens).map { _ in
      var batch = Batch()
      fill(microBatchTokens, &batch)
      return batch
    }
  }

  /// - Parameters:
  ///   - norm: of the gradient of the mean.
  ///   - weight: what the sum is divided by to be the mean.
  static func step(_ number: Int, norm: Double, weight: Double) -> OptimizerStep {
    func standard(_ setting: KeyPath<SettingList, Setting<Double>>) -> Double {
      SettingList.shared[keyPath: setting].standard(of: .pretrain)
    }
    return OptimizerStep(
      number: number, gradientScale: min(1, 1 / norm) / weight,
      adamW: .init(
        learningRate: 1e-4, beta1: standard(\.beta1), beta2: standard(\.beta2), epsilon: standard(\.epsilon),
        weightDecay: standard(\.weightDecay)),
      muon: .init(learningRate: 1e-4, weightDecay: standard(\.weightDecay)))
  }
}
