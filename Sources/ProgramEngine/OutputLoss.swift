import Model
import Programs

/// What the logits of some rows cost, and the gradient of that.
package protocol LogitLoss {
  /// [rows, 1]
  var losses: Tensor { get }

  /// - Parameter weights: w, [rows, 1].
  /// - Returns: the gradient of Σ w · loss with respect to the logits.
  func backward(weights: Tensor) -> Tensor
}

extension CrossEntropy: LogitLoss {}

/// What the output layer asks of all rows.
enum OutputLoss {
  /// Of the tokens that follow: int32, [tokens].
  case crossEntropy(targets: Tensor)
  /// Of a model that scores.
  case score
  case distillation(Distillation, targets: Tensor, Teacher)

  /// What a model that is learned from makes of the same rows.
  struct Teacher {
    /// [tokens, its hidden] what its output layer reads, and [vocabulary, its hidden] its matrix.
    var rows, matrix: Tensor
  }

  /// The loss of a chunk of rows.
  ///
  /// - Parameters:
  ///   - logits: [chunk, outputs].
  ///   - before: what is to be there before anything of the chunk is.
  func loss(_ logits: Tensor, _ chunk: Range<Int>, after before: Tensor?, _ precision: TensorElement) -> any LogitLoss {
    func column(_ targets: Tensor) -> Tensor { targets.slice(0, chunk).reshaped([chunk.count, 1]) }
    switch self {
    case .crossEntropy(let targets): return CrossEntropy(logits: logits, targets: column(targets))
    case .score: return ScoreLoss(scores: logits)
    case .distillation(let distillation, let targets, let teacher):
      let rows = teacher.rows.slice(0, chunk)
      let other = Linear(before.map { rows.after($0) } ?? rows, LinearWeight(matrix: teacher.matrix), precision)
      return DistillationLoss(distillation, logits: logits, teacher: other.output, targets: column(targets))
    }
  }
}

/// A reward model's loss is minus the score, so that an objective treats scores as others do log-probabilities.
struct ScoreLoss: LogitLoss {
  let losses: Tensor

  /// - Parameter scores: [rows, 1].
  init(scores: Tensor) { losses = -scores }

  func backward(weights: Tensor) -> Tensor { -weights }
}
