/// What the numbers of a run may be. The command line takes no others, and a record is held to them, since a file may say
/// anything.
package enum TrainingBounds {
  package static let epochs = 1...10_000
  package static let steps = 1...1_000_000_000
  package static let batchTokens = 1...1 << 30
  package static let microBatchTokens = 1...1 << 24
  package static let sequenceLength = 1...1 << 20
  package static let learningRate = 1e-12...10
  /// Of DPO.
  package static let beta = 1e-6...1000
  package static let warmupSteps = 0...Int.max
  package static let beta1 = 0...0.9999
  package static let beta2 = 0...0.999999
  package static let epsilon = 1e-20...1
  package static let weightDecay = 0.0...10
  package static let gradientClip = 0...1e9
  package static let loraRank = 0...4096
  package static let loraAlpha = 0...1e6
  package static let loraDropout = 0...0.95
  package static let threads = 1...1024
  /// Steps from one evaluation, checkpoint or printed line to the next.
  package static let interval = 1...1_000_000_000
  package static let evalTokens = 0...Int.max
  package static let keepCheckpoints = 1...1000
}

extension TrainingSettings {
  /// - Throws: `TrainingError` that names the first number which is out of its bounds.
  func checkBounds() throws(TrainingError) {
    func check<Number: Comparable>(
      _ key: CodingKeys, _ value: Number?, _ range: ClosedRange<Number>
    ) throws(TrainingError) {
      guard let value, !range.contains(value) else { return }
      throw TrainingError("\(key.rawValue) is \(value), expected \(range.lowerBound) to \(range.upperBound).")
    }
    try check(.epochs, epochs, TrainingBounds.epochs)
    try check(.steps, steps, TrainingBounds.steps)
    try check(.batchTokens, batchTokens, TrainingBounds.batchTokens)
    try check(.microBatchTokens, microBatchTokens, TrainingBounds.microBatchTokens)
    try check(.sequenceLength, sequenceLength, TrainingBounds.sequenceLength)
    try check(.learningRate, learningRate, TrainingBounds.learningRate)
    try check(.beta, beta, TrainingBounds.beta)
    try check(.warmupSteps, warmupSteps, TrainingBounds.warmupSteps)
    try check(.beta1, beta1, TrainingBounds.beta1)
    try check(.beta2, beta2, TrainingBounds.beta2)
    try check(.epsilon, epsilon, TrainingBounds.epsilon)
    try check(.weightDecay, weightDecay, TrainingBounds.weightDecay)
    try check(.gradientClip, gradientClip, TrainingBounds.gradientClip)
    try check(.loraRank, loraRank, TrainingBounds.loraRank)
    try check(.loraAlpha, loraAlpha, TrainingBounds.loraAlpha)
    try check(.loraDropout, loraDropout, TrainingBounds.loraDropout)
    try check(.threads, threads, TrainingBounds.threads)
    try check(.evalInterval, evalInterval, TrainingBounds.interval)
    try check(.evalTokens, evalTokens, TrainingBounds.evalTokens)
    try check(.checkpointInterval, checkpointInterval, TrainingBounds.interval)
    try check(.keepCheckpoints, keepCheckpoints, TrainingBounds.keepCheckpoints)
    try check(.logInterval, logInterval, TrainingBounds.interval)
  }
}
