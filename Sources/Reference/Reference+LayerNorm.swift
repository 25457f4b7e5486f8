extension Reference {
  /// y = (x - μ) · r · w + b with μ the mean and r = 1 / √(variance + ε), for each row of x [rows, width].
  @inlinable
  package static func layerNormForward<Scalar: BinaryFloatingPoint>(
    input: [Scalar], weight: [Scalar], bias: [Scalar], epsilon: Scalar
  ) -> (output: [Scalar], means: [Scalar], reciprocals: [Scalar]) {
    let width = weight.count
    var output = input
    var means: [Scalar] = []
    var reciprocals: [Scalar] = []
    for start in stride(from: 0, to: input.count, by: width) {
      var mean: Scalar = 0
      for index in 0..<width { mean += input[start + index] / Scalar(width) }
      var variance: Scalar = 0
      for index in 0..<width {
        let distance = input[start + index] - mean
        variance += distance * distance / Scalar(width)
      }
      let reciprocal = 1 / (variance + epsilon).squareRoot()
      for index in 0..<width {
        output[start + index] = (input[start + index] - mean) * reciprocal * weight[index] + bias[index]
      }
      means.append(mean)
      reciprocals.append(reciprocal)
    }
    return (output, means, reciprocals)
  }

  @inlinable
  package static func layerNormBackward<Scalar: BinaryFloatingPoint>(
    dOutput: [Scalar], input: [Scalar], weight: [Scalar], means: [Scalar], reciprocals: [Scalar]
  ) -> (dInput: [Scalar], dWeight: [Scalar], dBias: [Scalar]) {
    let width = weight.count
    var dInput = input
    var dWeight = [Scalar](repeating: 0, count: width)
    var dBias = dWeight
    for row in means.indices {
      let start = row * width
      func normalized(_ index: Int) -> Scalar { (input[start + index] - means[row]) * reciprocals[row] }
      var average: Scalar = 0
      var projection: Scalar = 0
      for index in 0..<width {
        let gradient = dOutput[start + index] * weight[index]
        average += gradient / Scalar(width)
        projection += gradient * normalized(index) / Scalar(width)
      }
      for index in 0..<width {
        dWeight[index] += dOutput[start + index] * normalized(index)
        dBias[index] += dOutput[start + index]
        // Mean and deviation depend on every x of the row.
        dInput[start + index] =
          reciprocals[row] * (dOutput[start + index] * weight[index] - average - normalized(index) * projection)
      }
    }
    return (dInput, dWeight, dBias)
  }
}
