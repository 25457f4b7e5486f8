extension Reference {
  /// Turns the pairs (i, i + headSize/2) of every head of x [tokens, width] by position · θ^(-2i/headSize);
  /// `direction` 1 is the forward pass, -1 the backward pass.
  @inlinable
  package static func rotary<Scalar: BinaryFloatingPoint>(
    _ heads: [Scalar], width: Int, headSize: Int, positions: [Int], theta: Scalar, direction: Scalar = 1
  ) -> [Scalar] {
    var output = heads
    let half = headSize / 2
    for (token, position) in positions.enumerated() {
      for head in stride(from: token * width, to: (token + 1) * width, by: headSize) {
        for pair in 0..<half {
          let frequency = exponential(-2 * Scalar(pair) / Scalar(headSize) * logarithm(theta))
          let (cosine, sine) = cosineAndSine(direction * Scalar(position) * frequency)
          let low = heads[head + pair]
          let high = heads[head + pair + half]
          output[head + pair] = low * cosine - high * sine
          output[head + pair + half] = high * cosine + low * sine
        }
      }
    }
    return output
  }
}
