import Programs

/// (silu(x·W₁ᵀ) ⊙ x·W₃ᵀ)·W₂ᵀ, or the same of many blocks of rows, each with weights of its own: see `Linear`.
package struct FeedForward {
  /// One value for each of the three linear layers.
  package struct Parts<Value> {
    package var gate, up, down: Value

    package init(gate: Value, up: Value, down: Value) {
      self.gate = gate
      self.up = up
      self.down = down
    }

    package func map<Result>(_ body: (Value) -> Result) -> Parts<Result> {
      Parts<Result>(gate: body(gate), up: body(up), down: body(down))
    }
  }

  private let gate, up, down: Linear
  private let activation: SwiGLU
  /// Float32, of the shape of the input.
  package var output: Tensor { down.output }

  package init(_ input: Tensor, _ weights: Parts<LinearWeight>, _ precision: TensorElement) {
    gate = Linear(input, weights.gate, precision)
    up = Linear(input, weights.up, precision)
    activation = SwiGLU(gate: gate.output, up: up.output)
    down = Linear(activation.output, weights.down, precision)
  }

  package func backward(_ dOutput: Tensor) -> (dInput: Tensor, gradients: Parts<LinearGradient>) {
    let dDown = down.backward(dOutput)
    let dActivation = activation.backward(dDown.dInput)
    let (dGate, dUp) = (gate.backward(dActivation.dGate), up.backward(dActivation.dUp))
    return (
      dInput: dGate.dInput + dUp.dInput,
      gradients: Parts(gate: dGate.gradient, up: dUp.gradient, down: dDown.gradient)
    )
  }
}
