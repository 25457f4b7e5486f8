import Model
import Programs

/// The loss of each row by a teacher, α·cross-entropy + (1-α)·T²·D(teacher ‖ student) (`Distillation`). With s = softmax(z/T), q
/// the teacher's and m = (1-β)·s + β·q:
///
///     D = β·Σ q·log(q/m) + (1-β)·Σ s·log(s/m)
///     z̄ = w·(α·(softmax(z) - [target]) + (1-α)·T·s·((1-β)·log(s/m) - Σ s·(1-β)·log(s/m)))
///
/// At β = 0 and 1 D is Σ q·log(q/s) and Σ s·log(s/q), and of the first s·(…) in z̄ is s - q.
package struct DistillationLoss: LogitLoss {
  private let settings: Distillation
  private let entropy: CrossEntropy
  /// T·∂D/∂z, [rows, vocabulary].
  private let slopes: Tensor
  /// [rows, 1] in nats.
  package let losses: Tensor

  /// [rows, 1] the cross-entropy alone.
  package var crossEntropies: Tensor { entropy.losses }

  /// - Parameters:
  ///   - logits: z, float32, [rows, vocabulary]; `teacher` likewise.
  ///   - targets: int32, [rows, 1].
  package init(_ settings: Distillation, logits: Tensor, teacher: Tensor, targets: Tensor) {
    self.settings = settings
    entropy = CrossEntropy(logits: logits, targets: targets)
    let (s, logS) = Self.softmax(logits * (1 / settings.temperature))
    let (q, logQ) = Self.softmax(teacher * (1 / settings.temperature))
    let beta = settings.mixture
    let divergence: Tensor
    switch beta {
    case 0:
      divergence = (q * (logQ - logS)).sum(1)
      slopes = s - q
    case 1:
      divergence = (s * (logS - logQ)).sum(1)
      slopes = s * (logS - logQ - divergence)
    default:
      let mixed = (1 - beta) * s + beta * q
      // Held above what is too small for a logarithm: there s and q are 0, and so is their part of a sum.
      let logM = Tensor.maximum(mixed, mixed.filled(1e-37)).logarithm
      let mean = (s * (logS - logM)).sum(1) * (1 - beta)
      divergence = (q * (logQ - logM)).sum(1) * beta + mean
      slopes = s * ((logS - logM) * (1 - beta) - mean)
    }
    let share = (1 - settings.textShare) * settings.temperature * settings.temperature
    losses = entropy.losses * settings.textShare + divergence * share
  }

  /// Probabilities and their logarithms, [rows, vocabulary].
  private static func softmax(_ logits: Tensor) -> (probabilities: Tensor, logarithms: Tensor) {
    let shifted = logits - logits.maximum(1)
    let exponentials = shifted.exponential
    let sum = exponentials.sum(1)
    return (exponentials / sum, shifted - sum.logarithm)
  }

  /// - Parameter weights: w, [rows, 1].
  /// - Returns: z̄.
  package func backward(weights: Tensor) -> Tensor {
    entropy.backward(weights: weights * settings.textShare)
      + slopes * (weights * ((1 - settings.textShare) * settings.temperature))
  }
}
