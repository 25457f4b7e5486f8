import Programs

/// y = silu(gate) ⊙ up with silu(g) = g·σ(g), the gated activation of Shazeer 2020 (arXiv 2002.05202).
///
///     ū = ȳ·g·σ        ḡ = ȳ·u·σ·(1 + g·(1 - σ))        since σ' = σ·(1 - σ)
package struct SwiGLU {
  private let gate, up: Tensor
  package let output: Tensor

  /// - Parameter gate: float32; `up` of the same shape.
  package init(gate: Tensor, up: Tensor) {
    self.gate = gate
    self.up = up
    output = gate * gate.sigmoid * up
  }

  package func backward(_ dOutput: Tensor) -> (dGate: Tensor, dUp: Tensor) {
    let share = gate.sigmoid
    return (
      dGate: dOutput * up * share * (gate * (1 - share) + 1),
      dUp: dOutput * gate * share
    )
  }
}
