import Model
import VectorMath

/// The router of a mixture of experts, for some tokens: which experts each takes, and how much each of them counts.
///
///     p = softmax(Wg·x)        e₁ … eₖ: the k largest of p        wⱼ = p(eⱼ) / (Σᵢ p(eᵢ) + 1e-20)
///
/// or, where weights are not normalised, wⱼ = p(eⱼ). All in fp32. Of equal probabilities, the expert with the lower number comes first.
///
/// - Parameters:
///   - input: x, [rows, n], of either type.
///   - router: Wg, float32, [experts, n].
///   - probabilities: p, float32, [rows, experts], overwritten.
///   - experts: e, [rows, k], overwritten.
///   - weights: w, [rows, k], overwritten.
package func routerForward(
  input: MatrixView, router: MatrixView, probabilities: MatrixView, expertsPerToken: Int, normalizes: Bool = true,
  experts: UnsafeMutablePointer<Int32>, weights: UnsafeMutablePointer<Float>
) {
  precondition(
    router.type == .float32 && router.columns == input.columns && probabilities.rows == input.rows
      && probabilities.columns == router.rows && (1...router.rows).contains(expertsPerToken),
    "a router of \(router.rows) experts for [\(input.rows), \(input.columns)]")
  switch input.type {
  case .float32: routerLogits(input, router, probabilities, Float.self)
  case .bfloat16: routerLogits(input, router, probabilities, BFloat16.self)
  }
  for row in 0..<input.rows {
    let p = probabilities.row(row, of: Float.self)
    let maximum = largest(p, router.rows)
    softmax(p, router.rows, minus: maximum, times: 1 / exponentialSum(p, router.rows, minus: maximum), p)
    let chosen = experts + row * expertsPerToken
    chooseLargest(expertsPerToken, of: p, router.rows, chosen)
    let sum = normalizes ? chosenSum(p, chosen, expertsPerToken) : 1
    for slot in 0..<expertsPerToken { weights[row * expertsPerToken + slot] = p[Int(chosen[slot])] / sum }
  }
}

/// The gradient of `routerForward` with respect to the logits z = Wg·x.
///
/// Through the weights: ∂wᵢ/∂p(eⱼ) = ([i = j] - wᵢ) / (Σ p + 1e-20), so p̄(eⱼ) += (w̄ⱼ - Σᵢ w̄ᵢ·wᵢ) / (Σ p + 1e-20); where they
/// are not normalised, p̄(eⱼ) += w̄ⱼ. Through the softmax: z̄ₑ = pₑ·(p̄ₑ - Σ p·p̄).
///
/// - Parameters:
///   - dWeights: w̄ of slot j of row r is `dWeights[places[r·k + j]]`.
///   - dLogits: float32, [rows, experts]: in, p̄ from elsewhere (the balance of experts); out, z̄.
package func routerBackward(
  probabilities: MatrixView, expertsPerToken: Int, normalizes: Bool = true, experts: UnsafePointer<Int32>,
  weights: UnsafePointer<Float>, places: UnsafePointer<Int32>, dWeights: UnsafePointer<Float>, dLogits: MatrixView
) {
  precondition(
    dLogits.rows == probabilities.rows && dLogits.columns == probabilities.columns, "dLogits of another shape")
  for row in 0..<probabilities.rows {
    let p = UnsafePointer(probabilities.row(row, of: Float.self))
    let gradient = dLogits.row(row, of: Float.self)
    let slots = row * expertsPerToken..<(row + 1) * expertsPerToken
    var sum: Float = 1
    var mean: Float = 0
    if normalizes {
      sum = chosenSum(p, experts + slots.lowerBound, expertsPerToken)
      for slot in slots { mean += dWeights[Int(places[slot])] * weights[slot] }
    }
    for slot in slots { gradient[Int(experts[slot])] += (dWeights[Int(places[slot])] - mean) / sum }
    var center: Float = 0
    for expert in 0..<probabilities.columns { center += p[expert] * gradient[expert] }
    for expert in 0..<probabilities.columns { gradient[expert] = p[expert] * (gradient[expert] - center) }
  }
}

/// x̄ += z̄·Wg, the router's part of its input's gradient; float32.
package func routerInputBackward(dLogits: MatrixView, router: MatrixView, dInput: MatrixView) {
  precondition(
    dInput.type == .float32 && dInput.rows == dLogits.rows && dInput.columns == router.columns
      && dLogits.columns == router.rows, "dInput of [\(dInput.rows), \(dInput.columns)]")
  for row in 0..<dLogits.rows {
    let dX = dInput.row(row, of: Float.self)
    let dZ = dLogits.row(row, of: Float.self)
    for expert in 0..<router.rows {
      let factor = SIMD16(repeating: dZ[expert])
      let weight = router.row(expert, of: Float.self)
      @inline(__always) func step(_ start: Int, _ lanes: Int) {
        let sum = Float.load(dX + start, lanes).addingProduct(factor, Float.load(weight + start, lanes))
        Float.store(sum, to: dX + start, lanes)
      }
      forEachSixteen(router.columns, step)
    }
  }
}

/// W̄g += z̄ᵀ·x over all rows, in their order, for some columns: each worker takes its own.
///
/// - Parameters:
///   - dLogits: z̄, float32, [rows, experts].
///   - input: x, [rows, columns], of either type.
///   - dRouter: float32, [experts, columns], added to.
package func routerWeightBackward(dLogits: MatrixView, input: MatrixView, dRouter: MatrixView) {
  precondition(
    dRouter.type == .float32 && input.rows == dLogits.rows && input.columns == dRouter.columns
      && dLogits.columns == dRouter.rows, "dRouter of [\(dRouter.rows), \(dRouter.columns)]")
  switch input.type {
  case .float32: routerWeightBackward(dLogits, input, dRouter, Float.self)
  case .bfloat16: routerWeightBackward(dLogits, input, dRouter, BFloat16.self)
  }
}

private func routerLogits<Element: VectorElement>(
  _ input: MatrixView, _ router: MatrixView, _ logits: MatrixView, _: Element.Type
) {
  for row in 0..<input.rows {
    let x = UnsafePointer(input.row(row, of: Element.self))
    let z = logits.row(row, of: Float.self)
    for expert in 0..<router.rows {
      let weight = router.row(expert, of: Float.self)
      var sums = FourSums()
      @inline(__always) func step(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
        sum.addProduct(Element.load(x + start, lanes), Float.load(weight + start, lanes))
      }
      sums.add(router.columns, step)
      z[expert] = sums.total
    }
  }
}

private func routerWeightBackward<Element: VectorElement>(
  _ dLogits: MatrixView, _ input: MatrixView, _ dRouter: MatrixView, _: Element.Type
) {
  for row in 0..<input.rows {
    let x = UnsafePointer(input.row(row, of: Element.self))
    let dZ = dLogits.row(row, of: Float.self)
    for expert in 0..<dRouter.rows {
      let dWeight = dRouter.row(expert, of: Float.self)
      let factor = SIMD16(repeating: dZ[expert])
      @inline(__always) func step(_ start: Int, _ lanes: Int) {
        let sum = Float.load(dWeight + start, lanes).addingProduct(factor, Element.load(x + start, lanes))
        Float.store(sum, to: dWeight + start, lanes)
      }
      forEachSixteen(input.columns, step)
    }
  }
}

/// Writes the numbers of the `count` largest of `p`, the largest first.
private func chooseLargest(
  _ count: Int, of p: UnsafePointer<Float>, _ expertCount: Int, _ chosen: UnsafeMutablePointer<Int32>
) {
  for slot in 0..<count {
    var best = -1
    for expert in 0..<expertCount {
      var isTaken = false
      for earlier in 0..<slot where Int(chosen[earlier]) == expert { isTaken = true }
      // Where p is NaN nothing compares as larger: the first free expert stays.
      if !isTaken && (best < 0 || p[expert] > p[best]) { best = expert }
    }
    chosen[slot] = Int32(best)
  }
}

/// Σ p of the chosen experts, and the 1e-20 with which MiniMind v1 keeps it from zero.
private func chosenSum(_ p: UnsafePointer<Float>, _ chosen: UnsafePointer<Int32>, _ count: Int) -> Float {
  var sum: Float = 1e-20
  for slot in 0..<count { sum += p[Int(chosen[slot])] }
  return sum
}
