import Model

extension Reference {
  /// The error function, 2/√π·∫₀ˣ e^(-u²) du: its Taylor series where that is short, a continued fraction of its complement
  /// elsewhere.
  @inlinable
  package static func errorFunction<Scalar: BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    if x.isNaN { return x }
    let size = x.magnitude
    if size < 3 {
      var term = x
      var sum = x
      for power in 1..<100 {
        term *= -x * x / Scalar(power)
        sum += term / Scalar(2 * power + 1)
      }
      return sum * 1.128379167095512574
    }
    var fraction: Scalar = 0
    for step in (1...60).reversed() { fraction = Scalar(step) / 2 / (size + fraction) }
    let complement = exponential(-size * size) / (size + fraction) * 0.564189583547756287
    return x < 0 ? complement - 1 : 1 - complement
  }

  /// The share s of x that the unit lets through, y = x·s, and ds/dx.
  @inlinable
  package static func geluShare<Scalar: BinaryFloatingPoint>(_ kind: GELU, _ x: Scalar) -> (Scalar, Scalar) {
    switch kind {
    case .exact:
      return (
        (1 + errorFunction(x * 0.707106781186547524)) / 2, exponential(-x * x / 2) * 0.398942280401432678
      )
    case .tanh:
      let argument = 1.595769121605730712 * (x + 0.044715 * x * x * x)
      let share = sigmoid(argument)
      return (share, share * (1 - share) * 1.595769121605730712 * (1 + 3 * 0.044715 * x * x))
    case .quick:
      let share = sigmoid(1.702 * x)
      return (share, share * (1 - share) * 1.702)
    }
  }

  /// y = x·s(x)
  @inlinable
  package static func geluForward<Scalar: BinaryFloatingPoint>(_ kind: GELU, input: [Scalar]) -> [Scalar] {
    input.map { $0 * geluShare(kind, $0).0 }
  }

  /// x̄ = ȳ·(s(x) + x·s'(x))
  @inlinable
  package static func geluBackward<Scalar: BinaryFloatingPoint>(
    _ kind: GELU, input: [Scalar], dOutput: [Scalar]
  ) -> [Scalar] {
    zip(input, dOutput).map { x, gradient in
      let (share, slope) = geluShare(kind, x)
      return gradient * (share + x * slope)
    }
  }
}
