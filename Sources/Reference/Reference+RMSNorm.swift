extension Reference {
  /// y = x · r · w with r = 1 / √(mean of x² + ε), for each row of x [rows, width].
  @inlinable
  package static func rmsNormForward<Scalar: BinaryFloatingPoint>(
    input: [Scalar], weight: [Scalar], epsilon: Scalar
  ) -> (output: [Scalar], reciprocalRootMeanSquare: [Scalar]) {
    let width = weight.count
    var output = input
    var reciprocals: [Scalar] = []
    for start in stride(from: 0, to: input.count, by: width) {
      var squares: Scalar = 0
      for index in 0..<width { squares += input[start + index] * input[start + index] }
      let reciprocal = 1 / (squares / Scalar(width) + epsilon).squareRoot()
      for index in 0..<width { output[start + index] = input[start + index] * reciprocal * weight[index] }
      reciprocals.append(reciprocal)
    }
    return (output, reciprocals)
  }

  @inlinable
  package static func rmsNormBackward<Scalar: BinaryFloatingPoint>(
    dOutput: [Scalar], input: [Scalar], weight: [Scalar], reciprocalRootMeanSquare: [Scalar]
  ) -> (dInput: [Scalar], dWeight: [Scalar]) {
    let width = weight.count
    var dInput = input
    var dWeight = [Scalar](repeating: 0, count: width)
    for (row, reciprocal) in reciprocalRootMeanSquare.enumerated() {
      let start = row * width
      var projection: Scalar = 0
      for index in 0..<width { projection += dOutput[start + index] * weight[index] * input[start + index] }
      for index in 0..<width {
        dWeight[index] += dOutput[start + index] * input[start + index] * reciprocal
        // y = x·r·w, and r depends on every x of the row: ∂r/∂x = -r³·x / width.
        dInput[start + index] =
          reciprocal * dOutput[start + index] * weight[index]
          - reciprocal * reciprocal * reciprocal * input[start + index] * projection / Scalar(width)
      }
    }
    return (dInput, dWeight)
  }
}
