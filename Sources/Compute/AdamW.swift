import CKernels
import Foundation
import Model
import VectorMath

/// The numbers of one step of AdamW.
package struct AdamWStep: Sendable {
  package var learningRate: Float
  package var beta1: Float
  package var beta2: Float
  package var epsilon: Float
  /// Decoupled weight decay: applied to the weights themselves, times the learning rate; 0 for norms.
  package var weightDecay: Float
  /// What the gradients are multiplied by first: clipping, and the division by the summed loss weights.
  package var gradientScale: Float
  /// From 1.
  package var step: Int

  package init(
    learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float, gradientScale: Float, step: Int
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
    self.step = step
  }
}

/// One step of AdamW in one pass over memory; Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2.
///
///     m ← β₁·m + (1 - β₁)·g        v ← β₂·v + (1 - β₂)·g²
///     p ← p·(1 - η·λ) - η·(m/(1 - β₁ᵗ)) / (√(v/(1 - β₂ᵗ)) + ε)
///
/// With c = √(1 - β₂ᵗ) above and below, the quotient is [η·c/(1 - β₁ᵗ)] · m / (√v + ε·c): one factor and one ε for the
/// whole pass. Elements are independent of each other, so any split gives the same bits.
///
/// - Parameters:
///   - weights: p, [count], updated.
///   - gradients: [count], before `gradientScale`.
///   - firstMoment: m, [count], updated; zero before the first step. `secondMoment`, v, likewise.
///   - workingCopy: [count], overwritten with the new weights; nil if there is none.
package func adamWStep(
  weights: UnsafeMutablePointer<Float>, gradients: UnsafePointer<Float>, firstMoment: UnsafeMutablePointer<Float>,
  secondMoment: UnsafeMutablePointer<Float>, workingCopy: UnsafeMutablePointer<BFloat16>?, count: Int,
  settings: AdamWStep
) {
  precondition(settings.step >= 1 && count >= 0, "step \(settings.step) over \(count) weights")
  let beta1 = settings.beta1
  let beta2 = settings.beta2
  let correction1 = 1 - pow(Double(beta1), Double(settings.step))
  let correction2 = (1 - pow(Double(beta2), Double(settings.step))).squareRoot()
  let stepSize = Float(Double(settings.learningRate) * correction2 / correction1)
  let epsilon = Float(Double(settings.epsilon) * correction2)
  let decay = settings.learningRate * settings.weightDecay
  let gradientScale = settings.gradientScale

  @inline(__always) func update(_ start: Int, _ lanes: Int) -> SIMD16<Float> {
    let gradient = Float.load(gradients + start, lanes) * gradientScale
    let first = (Float.load(firstMoment + start, lanes) * beta1).addingProduct(gradient, SIMD16(repeating: 1 - beta1))
    let second = (Float.load(secondMoment + start, lanes) * beta2)
      .addingProduct(gradient * gradient, SIMD16(repeating: 1 - beta2))
    let weight = Float.load(weights + start, lanes)
    let decayed = weight.addingProduct(weight, SIMD16(repeating: -decay))
    let updated = decayed - stepSize * first / (ckSquareRoot(second) + epsilon)
    Float.store(first, to: firstMoment + start, lanes)
    Float.store(second, to: secondMoment + start, lanes)
    Float.store(updated, to: weights + start, lanes)
    return updated
  }
  @inline(__always) func updateOnly(_ start: Int, _ lanes: Int) { _ = update(start, lanes) }
  if let workingCopy {
    @inline(__always) func updateAndCopy(_ start: Int, _ lanes: Int) {
      BFloat16.store(update(start, lanes), to: workingCopy + start, lanes)
    }
    forEachSixteen(count, updateAndCopy)
  } else {
    forEachSixteen(count, updateOnly)
  }
}

/// Σ values², for the norm of a gradient.
///
/// Summed in Float over blocks of 1024 and in Double over the blocks. The result depends on where a long array is cut:
/// for the same bits with any number of workers, call this on pieces that do not depend on the workers and add the
/// results in the pieces' order.
package func sumOfSquares(_ values: UnsafePointer<Float>, count: Int) -> Double {
  precondition(count >= 0, "\(count) values")
  var total = 0.0
  for block in stride(from: 0, to: count, by: 1024) {
    let from = values + block
    var sums = FourSums()
    @inline(__always) func square(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let value = Float.load(from + start, lanes)
      sum.addProduct(value, value)
    }
    sums.add(min(1024, count - block), square)
    total += Double(sums.total)
  }
  return total
}
