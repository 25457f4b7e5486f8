import Programs

/// What an adapter adds to a product: y = s·(x·Aᵀ)·Bᵀ; Hu et al. 2021, "LoRA" (arXiv 2106.09685). In training x is what dropout
/// leaves of the layer's input.
///
///     z = x·Aᵀ        Ā = z̄ᵀ·x        with z̄ = s·ȳ·B
///     y = s·z·Bᵀ      B̄ = s·ȳᵀ·z      x̄ = z̄·A
///
/// Leading axes that x, A and B share are products side by side, as in `Linear`.
package struct LowRankProduct {
  /// A [rank, inputs], B [outputs, rank] and s; and what is left out of x.
  package struct Weight {
    package var a, b: Tensor
    package var scale: Double
    package var dropout: Dropout?

    package init(a: Tensor, b: Tensor, scale: Double, dropout: Dropout? = nil) {
      self.a = a
      self.b = b
      self.scale = scale
      self.dropout = dropout
    }
  }

  private let weight: Weight
  private let input: Tensor
  /// z [rows, rank]
  private let low: Tensor
  /// y, float32, [rows, outputs]
  package let output: Tensor

  /// - Parameter input: x, [rows, inputs], in the type that the products take.
  package init(_ input: Tensor, _ weight: Weight) {
    let element = input.type.element
    self.input = weight.dropout.map { $0(input) } ?? input
    self.weight = Weight(
      a: weight.a.converted(to: element), b: weight.b.converted(to: element), scale: weight.scale,
      dropout: weight.dropout)
    low = self.input.timesTransposed(self.weight.a).converted(to: element)
    output = low.timesTransposed(self.weight.b) * weight.scale
  }

  /// - Parameter dOutput: ȳ, in the type that the products take.
  package func backward(_ dOutput: Tensor) -> (dInput: Tensor, dA: Tensor, dB: Tensor) {
    let dLow = (dOutput.timesMatrix(weight.b) * weight.scale).converted(to: input.type.element)
    let dDropped = dLow.timesMatrix(weight.a)
    return (
      dInput: weight.dropout.map { $0(dDropped) } ?? dDropped, dA: dLow.transposedTimes(input),
      dB: dOutput.transposedTimes(low) * weight.scale
    )
  }
}
