extension Reference {
  /// One step of AdamW as the paper's algorithm 2 states it, with both corrected moments written out.
  @inlinable
  package static func adamWStep<Scalar: BinaryFloatingPoint>(
    parameters: inout [Scalar], gradients: [Scalar], firstMoment: inout [Scalar], secondMoment: inout [Scalar],
    learningRate: Scalar, beta1: Scalar, beta2: Scalar, epsilon: Scalar, weightDecay: Scalar, step: Int
  ) {
    var power1: Scalar = 1
    var power2: Scalar = 1
    for _ in 0..<step {
      power1 *= beta1
      power2 *= beta2
    }
    for index in parameters.indices {
      let gradient = gradients[index]
      firstMoment[index] = beta1 * firstMoment[index] + (1 - beta1) * gradient
      secondMoment[index] = beta2 * secondMoment[index] + (1 - beta2) * gradient * gradient
      let first = firstMoment[index] / (1 - power1)
      let second = secondMoment[index] / (1 - power2)
      parameters[index] -=
        learningRate * (first / (second.squareRoot() + epsilon) + weightDecay * parameters[index])
    }
  }
}
