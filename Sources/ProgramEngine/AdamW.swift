import Programs

/// One step of AdamW; Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2.
///
///     m ← β₁·m + (1 - β₁)·g        v ← β₂·v + (1 - β₂)·g²
///     p ← p·(1 - η·λ) - [η·c/(1 - β₁ᵗ)] · m / (√v + ε·c)        with c = √(1 - β₂ᵗ)
package struct AdamW {
  /// p, m and v after the step.
  package let weight, firstMoment, secondMoment: Tensor

  /// - Parameters:
  ///   - weight: p. All are float32 and of one shape.
  ///   - isDecayed: whether λ is not 0.
  package init(
    weight: Tensor, gradient: Tensor, firstMoment: Tensor, secondMoment: Tensor, _ numbers: StepNumbers, isDecayed: Bool
  ) {
    let g = gradient * numbers.gradientScale
    let m = firstMoment * numbers.beta1 + g * (1 - numbers.beta1)
    let v = secondMoment * numbers.beta2 + g * g * (1 - numbers.beta2)
    let decayed = isDecayed ? weight - weight * numbers.decay : weight
    self.weight = decayed - m * numbers.stepSize / (v.squareRoot + numbers.epsilon)
    (self.firstMoment, self.secondMoment) = (m, v)
  }
}
