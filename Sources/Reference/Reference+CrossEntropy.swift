extension Reference {
  /// The loss of each row, log Σ e^z - z[target], and the gradient of Σ weight · scale · loss.
  @inlinable
  package static func softmaxCrossEntropy<Scalar: BinaryFloatingPoint>(
    logits: [Scalar], targets: [Int], lossWeights: [Scalar], gradientScale: Scalar, vocabulary: Int
  ) -> (losses: [Scalar], dLogits: [Scalar]) {
    var losses = [Scalar](repeating: 0, count: targets.count)
    var dLogits = [Scalar](repeating: 0, count: logits.count)
    for (row, target) in targets.enumerated() where lossWeights[row] != 0 {
      let start = row * vocabulary
      var maximum = logits[start]
      for index in start..<start + vocabulary where logits[index] > maximum { maximum = logits[index] }
      var sum: Scalar = 0
      for index in start..<start + vocabulary { sum += exponential(logits[index] - maximum) }
      losses[row] = logarithm(sum) + maximum - logits[start + target]
      for index in start..<start + vocabulary {
        let probability = exponential(logits[index] - maximum) / sum
        let isTarget: Scalar = index == start + target ? 1 : 0
        dLogits[index] = (probability - isTarget) * lossWeights[row] * gradientScale
      }
    }
    return (losses, dLogits)
  }
}
