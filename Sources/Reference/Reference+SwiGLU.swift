extension Reference {
  /// y = gate · σ(gate) · up; gateUp [rows, 2·hidden] holds the gates of a row, then its ups.
  @inlinable
  package static func swiGLUForward<Scalar: BinaryFloatingPoint>(gateUp: [Scalar], hidden: Int) -> [Scalar] {
    var output: [Scalar] = []
    for start in stride(from: 0, to: gateUp.count, by: 2 * hidden) {
      for index in start..<start + hidden {
        output.append(gateUp[index] * sigmoid(gateUp[index]) * gateUp[index + hidden])
      }
    }
    return output
  }

  @inlinable
  package static func swiGLUBackward<Scalar: BinaryFloatingPoint>(
    gateUp: [Scalar], dOutput: [Scalar], hidden: Int
  ) -> [Scalar] {
    var dGateUp = gateUp
    for row in 0..<dOutput.count / max(hidden, 1) {
      for column in 0..<hidden {
        let index = row * 2 * hidden + column
        let gate = gateUp[index]
        let up = gateUp[index + hidden]
        let gradient = dOutput[row * hidden + column]
        let share = sigmoid(gate)
        dGateUp[index] = gradient * up * share * (1 + gate * (1 - share))
        dGateUp[index + hidden] = gradient * gate * share
      }
    }
    return dGateUp
  }
}
