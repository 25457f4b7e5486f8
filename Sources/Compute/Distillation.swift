import CKernels
import Foundation
import Model
import VectorMath

/// The loss of each row by a teacher, α·cross-entropy + (1-α)·T²·D(teacher ‖ student) in nats, and the gradient of
/// Σ weight · loss with respect to the student's logits z. With s = softmax(z/T), q the teacher's and m = (1-β)·s + β·q:
///
///     β = 0        D = Σ q·log(q/s)                                   ∂D/∂zⱼ = (sⱼ - qⱼ) / T
///     β = 1        D = Σ s·log(s/q)                                   ∂D/∂zⱼ = sⱼ·(log(sⱼ/qⱼ) - D) / T
///     otherwise    D = β·Σ q·log(q/m) + (1-β)·Σ s·log(s/m)            ∂D/∂zⱼ = sⱼ·(1-β)·(log(sⱼ/mⱼ) - Σ s·log(s/m)) / T
///
/// since ∂D/∂sⱼ = (1-β)·log(sⱼ/mⱼ), and the softmax subtracts its mean. A row of weight 0 is not read: its losses and its
/// gradient are 0. A NaN in either row makes the loss NaN.
///
/// - Parameters:
///   - logits, teacher: float32, [rows, vocabulary].
///   - targets: [rows], each in 0 ..< vocabulary.
///   - lossWeights: [rows].
///   - losses, crossEntropies: [rows], overwritten, not multiplied by the weights.
///   - dLogits: [rows, vocabulary], overwritten. float32 may be `logits` itself.
package func distillationLoss(
  _ distillation: Distillation, logits: MatrixView, teacher: MatrixView, targets: UnsafePointer<Int32>,
  lossWeights: UnsafePointer<Float>, losses: UnsafeMutablePointer<Float>, crossEntropies: UnsafeMutablePointer<Float>,
  dLogits: MatrixView
) {
  precondition(
    logits.type == .float32 && teacher.type == .float32 && logits.columns > 0 && teacher.columns == logits.columns
      && teacher.rows == logits.rows,
    "logits [\(logits.rows), \(logits.columns)] with a teacher's [\(teacher.rows), \(teacher.columns)]")
  precondition(dLogits.rows == logits.rows && dLogits.columns == logits.columns, "dLogits of another shape")
  forEachWeightedRow(lossWeights, targets, losses, crossEntropies, dLogits) { row, weight, target in
    let z = UnsafePointer(logits.row(row, of: Float.self))
    let distributions = Distributions(
      student: z, teacher: UnsafePointer(teacher.row(row, of: Float.self)), count: logits.columns, distillation)
    let targetLogit = z[target]
    crossEntropies[row] = log(distributions.plainSum) + (distributions.studentMaximum - targetLogit)
    let (divergence, mean) = distributions.divergence()
    let alpha = Float(distillation.textShare)
    let temperature = Float(distillation.temperature)
    losses[row] = alpha * crossEntropies[row] + (1 - alpha) * temperature * temperature * divergence
    let textScale = alpha * weight / distributions.plainSum
    let scale = (1 - alpha) * temperature * weight
    switch dLogits.type {
    case .float32:
      let dZ = dLogits.row(row, of: Float.self)
      distributions.gradient(textScale: textScale, scale: scale, mean: mean, dZ)
      dZ[target] -= alpha * weight
    case .bfloat16:
      let dZ = dLogits.row(row, of: BFloat16.self)
      let atTarget = distributions.gradient(textScale: textScale, scale: scale, mean: mean, at: target)
      distributions.gradient(textScale: textScale, scale: scale, mean: mean, dZ)
      dZ[target] = BFloat16(atTarget - alpha * weight)
    }
  }
}

/// Calls `body` with each row whose weight is not 0; losses and gradient of the others become 0.
func forEachWeightedRow(
  _ lossWeights: UnsafePointer<Float>, _ targets: UnsafePointer<Int32>, _ losses: UnsafeMutablePointer<Float>,
  _ crossEntropies: UnsafeMutablePointer<Float>, _ dLogits: MatrixView,
  _ body: (_ row: Int, _ weight: Float, _ target: Int) -> Void
) {
  for row in 0..<dLogits.rows {
    guard lossWeights[row] != 0 else {
      (losses[row], crossEntropies[row]) = (0, 0)
      zeroRow(dLogits, row)
      continue
    }
    let target = Int(targets[row])
    precondition(target >= 0 && target < dLogits.columns, "target \(target) of \(dLogits.columns)")
    body(row, lossWeights[row], target)
  }
}

/// A row of both models' logits and what makes distributions of them.
private struct Distributions {
  let student: UnsafePointer<Float>
  let teacher: UnsafePointer<Float>
  let count: Int
  let mixture: Float
  let inverseTemperature: Float
  let studentMaximum: Float
  let teacherMaximum: Float
  /// Σ e^(z - maximum), without temperature.
  let plainSum: Float
  /// 1/Σ and log Σ of e^((z - maximum)/T).
  let studentShare: Float
  let studentLogSum: Float
  let teacherShare: Float
  let teacherLogSum: Float

  init(student: UnsafePointer<Float>, teacher: UnsafePointer<Float>, count: Int, _ distillation: Distillation) {
    self.student = student
    self.teacher = teacher
    self.count = count
    mixture = Float(distillation.mixture)
    let inverse = Float(1 / distillation.temperature)
    inverseTemperature = inverse
    studentMaximum = largest(student, count)
    teacherMaximum = largest(teacher, count)
    plainSum = exponentialSum(student, count, minus: studentMaximum)
    let studentSum = scaledSum(student, count, minus: studentMaximum, times: inverse)
    let teacherSum = scaledSum(teacher, count, minus: teacherMaximum, times: inverse)
    (studentShare, studentLogSum) = (1 / studentSum, log(studentSum))
    (teacherShare, teacherLogSum) = (1 / teacherSum, log(teacherSum))
  }

  /// Sixteen (z - maximum)/T of the student. Those beyond the row are -200: finite, of a probability that is exactly 0.
  @inline(__always)
  private func scaledStudent(_ start: Int, _ lanes: Int) -> SIMD16<Float> {
    (ckLoadFloatsOr(student + start, lanes, studentMaximum - 200 / inverseTemperature) - studentMaximum)
      * inverseTemperature
  }

  @inline(__always)
  private func scaledTeacher(_ start: Int, _ lanes: Int) -> SIMD16<Float> {
    (ckLoadFloatsOr(teacher + start, lanes, teacherMaximum - 200 / inverseTemperature) - teacherMaximum)
      * inverseTemperature
  }

  /// log((1-β)·s + β·q), held above what is too small for a logarithm: there s and q are 0, and so is their part of a sum.
  @inline(__always)
  private func mixedLogarithm(_ s: SIMD16<Float>, _ q: SIMD16<Float>) -> SIMD16<Float> {
    logarithm(ckMaximum(s * (1 - mixture) + q * mixture, SIMD16(repeating: 1e-37)))
  }

  /// D, and the mean over s of ∂D/∂s.
  func divergence() -> (value: Float, mean: Float) {
    var values = FourSums()
    var means = FourSums()
    @inline(__always) func addForward(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let (z, t) = (scaledStudent(start, lanes), scaledTeacher(start, lanes))
      sum += exponential(t) * teacherShare * ((t - teacherLogSum) - (z - studentLogSum))
    }
    @inline(__always) func addReverse(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let (z, t) = (scaledStudent(start, lanes), scaledTeacher(start, lanes))
      sum += exponential(z) * studentShare * ((z - studentLogSum) - (t - teacherLogSum))
    }
    @inline(__always) func addTeacher(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let (z, t) = (scaledStudent(start, lanes), scaledTeacher(start, lanes))
      let (s, q) = (exponential(z) * studentShare, exponential(t) * teacherShare)
      sum += q * ((t - teacherLogSum) - mixedLogarithm(s, q))
    }
    @inline(__always) func addStudent(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
      let (z, t) = (scaledStudent(start, lanes), scaledTeacher(start, lanes))
      let (s, q) = (exponential(z) * studentShare, exponential(t) * teacherShare)
      sum += s * ((z - studentLogSum) - mixedLogarithm(s, q))
    }
    switch mixture {
    case 0:
      values.add(count, addForward)
      return (values.total, 0)
    case 1:
      values.add(count, addReverse)
      return (values.total, values.total)
    default:
      values.add(count, addTeacher)
      means.add(count, addStudent)
      let ofStudent = means.total
      return (mixture * values.total + (1 - mixture) * ofStudent, (1 - mixture) * ofStudent)
    }
  }

  /// Writes textScale·e^(z - maximum) + scale·T·∂D/∂z.
  func gradient<Element: VectorElement>(
    textScale: Float, scale: Float, mean: Float, _ output: UnsafeMutablePointer<Element>
  ) {
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Element.store(
        gradient(textScale: textScale, scale: scale, mean: mean, start, lanes), to: output + start, lanes)
    }
    forEachSixteen(count, step)
  }

  /// The same of one column.
  func gradient(textScale: Float, scale: Float, mean: Float, at column: Int) -> Float {
    gradient(textScale: textScale, scale: scale, mean: mean, column, 1)[0]
  }

  @inline(__always)
  private func gradient(
    textScale: Float, scale: Float, mean: Float, _ start: Int, _ lanes: Int
  ) -> SIMD16<Float> {
    let (z, t) = (scaledStudent(start, lanes), scaledTeacher(start, lanes))
    let text = exponential(Float.load(student + start, lanes) - studentMaximum) * textScale
    let s = exponential(z) * studentShare
    if mixture == 0 { return text + (s - exponential(t) * teacherShare) * scale }
    if mixture == 1 { return text + s * ((z - studentLogSum) - (t - teacherLogSum) - mean) * scale }
    let mixed = mixedLogarithm(s, exponential(t) * teacherShare)
    return text + s * (((z - studentLogSum) - mixed) * (1 - mixture) - mean) * scale
  }
}

/// Σ e^((z - maximum)·factor)
func scaledSum(_ z: UnsafePointer<Float>, _ count: Int, minus maximum: Float, times factor: Float) -> Float {
  var sums = FourSums()
  @inline(__always) func step(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
    sum += exponential((ckLoadFloatsOr(z + start, lanes, -.infinity) - maximum) * factor)
  }
  sums.add(count, step)
  return sums.total
}
