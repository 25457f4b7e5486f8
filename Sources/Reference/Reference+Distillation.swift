import Model

extension Reference {
  /// The loss of each row, α·cross-entropy + (1-α)·T²·D(teacher ‖ student), the cross-entropy alone, and the gradient of
  /// Σ weight · loss with respect to the student's logits (`Distillation`).
  ///
  /// With s = softmax(z/T) of the student, q of the teacher and m = (1-β)·s + β·q, D is β·Σ q·log(q/m) + (1-β)·Σ s·log(s/m), so
  /// ∂D/∂sⱼ = (1-β)·log(sⱼ/mⱼ), and through the softmax ∂D/∂zⱼ = sⱼ·(∂D/∂sⱼ - Σ s·∂D/∂s)/T. At β = 0 and 1 D is one of the two
  /// divergences of s and q.
  ///
  /// With `top` K they are distributions over outcomes: the teacher's K likeliest tokens, of equal ones the first, and all others
  /// as one, whose probability is the sum of theirs. Then ∂D/∂sⱼ is that with respect to the probability of the token's outcome.
  package static func distillation<Scalar: BinaryFloatingPoint>(
    _ settings: Distillation, logits: [Scalar], teacher: [Scalar], targets: [Int], lossWeights: [Scalar],
    vocabulary: Int
  ) -> (losses: [Scalar], crossEntropies: [Scalar], dLogits: [Scalar]) {
    let (alpha, beta) = (Scalar(settings.textShare), Scalar(settings.mixture))
    let temperature = Scalar(settings.temperature)
    var (losses, dLogits) = softmaxCrossEntropy(
      logits: logits, targets: targets, lossWeights: lossWeights, gradientScale: alpha, vocabulary: vocabulary)
    let crossEntropies = losses
    for row in targets.indices where lossWeights[row] != 0 {
      let range = row * vocabulary..<(row + 1) * vocabulary
      let student = logProbabilities(logits[range].map { $0 / temperature })
      let other = logProbabilities(teacher[range].map { $0 / temperature })
      let outcomes = outcomes(Array(teacher[range]), top: settings.top)
      var divergence: Scalar = 0
      var slopes = [Scalar](repeating: 0, count: vocabulary)
      for outcome in outcomes {
        var (s, q): (Scalar, Scalar) = (0, 0)
        for index in outcome {
          s += exponential(student[index])
          q += exponential(other[index])
        }
        let (logS, logQ) =
          outcome.count == 1 ? (student[outcome[0]], other[outcome[0]]) : (logarithm(s), logarithm(q))
        let slope: Scalar
        if beta == 0 {
          divergence += q * (logQ - logS)
          slope = -q / s
        } else if beta == 1 {
          divergence += s * (logS - logQ)
          slope = logS - logQ
        } else {
          let mixed = logarithm((1 - beta) * s + beta * q)
          divergence += beta * q * (logQ - mixed) + (1 - beta) * s * (logS - mixed)
          slope = (1 - beta) * (logS - mixed)
        }
        for index in outcome { slopes[index] = slope }
      }
      var mean: Scalar = 0
      for index in 0..<vocabulary { mean += exponential(student[index]) * slopes[index] }
      let share = (1 - alpha) * temperature * temperature
      losses[row] = alpha * losses[row] + share * divergence
      for index in 0..<vocabulary {
        let slope = exponential(student[index]) * (slopes[index] - mean) / temperature
        dLogits[range.lowerBound + index] += lossWeights[row] * share * slope
      }
    }
    return (losses, crossEntropies, dLogits)
  }

  /// The tokens of each outcome.
  private static func outcomes<Scalar: BinaryFloatingPoint>(_ teacher: [Scalar], top: Int?) -> [[Int]] {
    guard let top else { return teacher.indices.map { [$0] } }
    let order = teacher.indices.sorted { (teacher[$0], -$0) > (teacher[$1], -$1) }
    return order.prefix(top).map { [$0] } + [Array(order.dropFirst(top))]
  }

  private static func logProbabilities<Scalar: BinaryFloatingPoint>(_ logits: [Scalar]) -> [Scalar] {
    var maximum = logits[0]
    for logit in logits where logit > maximum { maximum = logit }
    var sum: Scalar = 0
    for logit in logits { sum += exponential(logit - maximum) }
    let logSum = logarithm(sum) + maximum
    return logits.map { $0 - logSum }
  }
}
