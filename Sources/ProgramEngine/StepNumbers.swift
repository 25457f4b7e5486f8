import Foundation
import Model
import Programs

/// The numbers of an `OptimizerStep` as one input of a program, so that the program is the same for every step.
package struct StepNumbers {
  /// What gradients are multiplied by first.
  let gradientScale: Tensor
  let beta1, beta2: Tensor
  /// η·c/(1 - β₁ᵗ) and ε·c, with c = √(1 - β₂ᵗ): see `AdamW`.
  let stepSize, epsilon: Tensor
  /// η·λ of AdamW; η and η·λ of Muon.
  let decay, muonRate, muonDecay: Tensor

  package static let type = TensorType(.float32, [8])

  /// - Parameter input: of this type.
  package init(_ input: Tensor) {
    let parts = input.split(0, [Int](repeating: 1, count: 8))
    (gradientScale, beta1, beta2, stepSize) = (parts[0], parts[1], parts[2], parts[3])
    (epsilon, decay, muonRate, muonDecay) = (parts[4], parts[5], parts[6], parts[7])
  }

  /// What the input holds for a step.
  package static func values(_ step: OptimizerStep) -> HostTensor {
    let adamW = step.adamW
    let correction = (1 - pow(adamW.beta2, Double(step.number))).squareRoot()
    let numbers = [
      step.gradientScale, adamW.beta1, adamW.beta2,
      adamW.learningRate * correction / (1 - pow(adamW.beta1, Double(step.number))), adamW.epsilon * correction,
      adamW.learningRate * adamW.weightDecay, step.muon.learningRate, step.muon.learningRate * step.muon.weightDecay,
    ]
    return HostTensor(numbers.map(Float.init), type.shape)
  }
}
