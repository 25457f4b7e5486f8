/// w += scale · b·a
///
/// - Parameters:
///   - b: [outputs, rank].
///   - a: [rank, inputs].
///   - weight: w, [outputs, inputs], added to.
package func addLowRankProduct(
  _ b: UnsafePointer<Float>, _ a: UnsafePointer<Float>, outputs: Int, rank: Int, inputs: Int, scale: Float,
  to weight: UnsafeMutablePointer<Float>
) {
  for output in 0..<outputs {
    let row = weight + output * inputs
    for index in 0..<rank {
      let factor = scale * b[output * rank + index]
      let direction = a + index * inputs
      for input in 0..<inputs { row[input] += factor * direction[input] }
    }
  }
}
