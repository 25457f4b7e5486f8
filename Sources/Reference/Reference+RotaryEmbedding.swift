extension Reference {
  /// Turns the pairs (i, i + headSize/2) of every head of x [tokens, width] by `angles` [tokens][headSize/2], and multiplies
  /// them by `amplitude`; `direction` 1 is the forward pass, -1 the backward pass.
  @inlinable
  package static func rotary<Scalar: BinaryFloatingPoint>(
    _ heads: [Scalar], width: Int, headSize: Int, angles: [[Scalar]], amplitude: Scalar = 1, direction: Scalar = 1
  ) -> [Scalar] {
    var output = heads
    let half = headSize / 2
    for (token, angles) in angles.enumerated() {
      for pair in 0..<half {
        let (cosine, sine) = cosineAndSine(direction * angles[pair])
        for head in stride(from: token * width, to: (token + 1) * width, by: headSize) {
          let low = heads[head + pair]
          let high = heads[head + pair + half]
          output[head + pair] = amplitude * (low * cosine - high * sine)
          output[head + pair + half] = amplitude * (high * cosine + low * sine)
        }
      }
    }
    return output
  }

  /// The same by the angles position · θ^(-2i/headSize).
  @inlinable
  package static func rotary<Scalar: BinaryFloatingPoint>(
    _ heads: [Scalar], width: Int, headSize: Int, positions: [Int], theta: Scalar, direction: Scalar = 1
  ) -> [Scalar] {
    let angles = positions.map { position in
      (0..<headSize / 2).map { pair in
        Scalar(position) * exponential(-2 * Scalar(pair) / Scalar(headSize) * logarithm(theta))
      }
    }
    return rotary(heads, width: width, headSize: headSize, angles: angles, direction: direction)
  }
}
