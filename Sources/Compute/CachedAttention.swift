import CKernels

/// Attention of one query over the keys and values of a cache: output = softmax(query·keysᵀ / √headSize)·values.
///
/// - Parameters:
///   - query: [headSize], rotated.
///   - keys: [positions, headSize], of either type, the query's own position last; at least one.
///   - values: [positions, headSize], of the type of `keys`.
///   - scores: [positions], overwritten: working memory.
///   - output: [headSize], overwritten.
package func cachedAttention(
  query: UnsafePointer<Float>, keys: MatrixView, values: MatrixView, scores: UnsafeMutablePointer<Float>,
  output: UnsafeMutablePointer<Float>
) {
  precondition(
    keys.rows > 0 && keys.rows == values.rows && keys.columns == values.columns && keys.type == values.type,
    "attention over keys [\(keys.rows), \(keys.columns)] and values [\(values.rows), \(values.columns)]")
  switch keys.type {
  case .float32: cachedAttention(query, keys, values, scores, output, Float.self)
  case .bfloat16: cachedAttention(query, keys, values, scores, output, BFloat16.self)
  }
}

private func cachedAttention<Element: VectorElement>(
  _ query: UnsafePointer<Float>, _ keys: MatrixView, _ values: MatrixView, _ scores: UnsafeMutablePointer<Float>,
  _ output: UnsafeMutablePointer<Float>, _: Element.Type
) {
  let headSize = keys.columns
  let positions = keys.rows
  for position in 0..<positions {
    let key = UnsafePointer(keys.row(position, of: Element.self))
    var sum = SIMD16<Float>.zero
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      sum.addProduct(Element.load(key + start, lanes), Float.load(query + start, lanes))
    }
    forEachSixteen(headSize, step)
    scores[position] = ckSum(sum)
  }
  let inverse = 1 / exponentiate(scores, count: positions, scale: 1 / Float(headSize).squareRoot())

  // Sixteen columns at a time, so that the sum over positions stays in registers.
  @inline(__always) func column(_ start: Int, _ lanes: Int) {
    var sums = FourSums()
    @inline(__always) func step(_ position: Int, _ sum: inout SIMD16<Float>) {
      let value = Element.load(UnsafePointer(values.row(position, of: Element.self)) + start, lanes)
      sum.addProduct(value, SIMD16(repeating: scores[position]))
    }
    sums.addEach(positions, step)
    Float.store(sums.lanes * inverse, to: output + start, lanes)
  }
  forEachSixteen(headSize, column)
}

/// Replaces each score s by e^(scale·(s - largest)) and returns their sum: a softmax but for the division.
private func exponentiate(_ scores: UnsafeMutablePointer<Float>, count: Int, scale: Float) -> Float {
  var largest = SIMD16<Float>(repeating: -.infinity)
  @inline(__always) func findLargest(_ start: Int, _ lanes: Int) {
    largest = ckMaximum(ckLoadFloatsOr(scores + start, lanes, -.infinity), largest)
  }
  forEachSixteen(count, findLargest)
  let offset = ckLargest(largest)
  var sum = SIMD16<Float>.zero
  @inline(__always) func step(_ start: Int, _ lanes: Int) {
    // Lanes beyond the end become e^-∞ = 0 and leave the sum alone.
    let weight = exponential((ckLoadFloatsOr(scores + start, lanes, -.infinity) - offset) * scale)
    sum += weight
    Float.store(weight, to: scores + start, lanes)
  }
  forEachSixteen(count, step)
  return ckSum(sum)
}
