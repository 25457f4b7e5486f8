import CKernels
import Foundation
import Model
import VectorMath

/// The loss of each row, log Σ e^z - z[target], in nats, and the gradient of Σ weight · loss with respect to the logits:
///
///     z̄ⱼ = (e^(zⱼ - m) / Σₖ e^(zₖ - m) - [j = target]) · weight
///
/// The row's maximum m keeps every exponential at or below 1. A row of weight 0 is not read: its loss and its gradient
/// are 0. A NaN or +∞ in a row makes its loss NaN.
///
/// - Parameters:
///   - logits: z, float32, [rows, vocabulary].
///   - targets: [rows], each in 0 ..< vocabulary.
///   - lossWeights: [rows].
///   - losses: [rows], overwritten, not multiplied by the weights.
///   - dLogits: z̄, [rows, vocabulary], overwritten; nil when only the loss is wanted. float32 may be `logits` itself.
package func softmaxCrossEntropy(
  logits: MatrixView, targets: UnsafePointer<Int32>, lossWeights: UnsafePointer<Float>,
  losses: UnsafeMutablePointer<Float>, dLogits: MatrixView?
) {
  precondition(logits.type == .float32 && logits.columns > 0, "logits of type \(logits.type)")
  if let dLogits {
    precondition(dLogits.rows == logits.rows && dLogits.columns == logits.columns, "dLogits of another shape")
  }
  for row in 0..<logits.rows {
    let weight = lossWeights[row]
    if weight == 0 {
      losses[row] = 0
      if let dLogits { zeroRow(dLogits, row) }
      continue
    }
    let target = Int(targets[row])
    precondition(target >= 0 && target < logits.columns, "target \(target) of \(logits.columns)")
    let z = UnsafePointer(logits.row(row, of: Float.self))
    let targetLogit = z[target]
    let maximum = largest(z, logits.columns)
    let sum = exponentialSum(z, logits.columns, minus: maximum)
    losses[row] = log(sum) + (maximum - targetLogit)
    guard let dLogits else { continue }
    // The exponentials are computed again: for a bfloat16 gradient there is nowhere to keep them.
    let scale = weight / sum
    let atTarget = exponential(SIMD16(repeating: targetLogit - maximum))[0] * scale - weight
    switch dLogits.type {
    case .float32:
      let dZ = dLogits.row(row, of: Float.self)
      softmax(z, logits.columns, minus: maximum, times: scale, dZ)
      dZ[target] = atTarget
    case .bfloat16:
      let dZ = dLogits.row(row, of: BFloat16.self)
      softmax(z, logits.columns, minus: maximum, times: scale, dZ)
      dZ[target] = BFloat16(atTarget)
    }
  }
}

func zeroRow(_ view: MatrixView, _ row: Int) {
  view.row(row).initializeMemory(as: UInt8.self, repeating: 0, count: view.columns * view.type.byteCount)
}

/// Writes e^(z - maximum) · scale.
func softmax<Element: VectorElement>(
  _ z: UnsafePointer<Float>, _ count: Int, minus maximum: Float, times scale: Float,
  _ output: UnsafeMutablePointer<Element>
) {
  @inline(__always) func step(_ start: Int, _ lanes: Int) {
    Element.store(exponential(Float.load(z + start, lanes) - maximum) * scale, to: output + start, lanes)
  }
  forEachSixteen(count, step)
}
