import Compute
import Machine
import Model

/// The rows of a part, grouped by the experts that they take: slot after slot, expert after expert, within an expert in
/// the rows' order.
final class ExpertGroups {
  private let expertsPerToken: Int
  private let normalizes: Bool
  /// [rows, experts] the router's softmax.
  private let probabilities: MatrixView
  /// [rows, k] what each row takes, and how much it counts.
  private let chosen: UnsafeMutablePointer<Int32>
  private let chosenWeights: UnsafeMutablePointer<Float>
  /// [rows · k] the row of each slot, and how much its expert counts for it.
  let slotRows: UnsafeMutablePointer<Int32>
  let slotWeights: UnsafeMutablePointer<Float>
  /// Where each expert's slots begin, and at last the end.
  private var starts: [Int]
  private let buffer: AlignedBuffer

  /// - Throws: `OutOfMemoryError`.
  init(rows: Int, _ shape: ModelConfiguration) throws(OutOfMemoryError) {
    let expertCount = shape.expertCount
    expertsPerToken = shape.expertsPerToken
    normalizes = shape.normalizesExpertWeights
    starts = [Int](repeating: 0, count: expertCount + 1)
    var plan = ArenaPlan()
    let probabilities = plan.reserve(rows: rows, columns: expertCount)
    let slots = plan.reserve(rows: 4, columns: rows * expertsPerToken)
    buffer = try AlignedBuffer(plan)
    self.probabilities = buffer.view(probabilities)
    let view = buffer.view(slots)
    chosen = view.row(0).assumingMemoryBound(to: Int32.self)
    chosenWeights = view.row(1).assumingMemoryBound(to: Float.self)
    slotRows = view.row(2).assumingMemoryBound(to: Int32.self)
    slotWeights = view.row(3).assumingMemoryBound(to: Float.self)
  }

  /// Routes rows.
  ///
  /// - Parameters:
  ///   - input: [rows, hidden], normalised.
  ///   - router: [experts, hidden].
  func route(_ input: MatrixView, router: MatrixView) {
    routerForward(
      input: input, router: router, probabilities: probabilities.rows(0..<input.rows),
      expertsPerToken: expertsPerToken, normalizes: normalizes, experts: chosen, weights: chosenWeights)
    var slot = 0
    for expert in 0..<starts.count - 1 {
      starts[expert] = slot
      for index in 0..<input.rows * expertsPerToken where Int(chosen[index]) == expert {
        slotRows[slot] = Int32(index / expertsPerToken)
        slotWeights[slot] = chosenWeights[index]
        slot += 1
      }
    }
    starts[starts.count - 1] = slot
  }

  /// The slots of an expert: at most as many as there are rows.
  func slots(of expert: Int) -> Range<Int> { starts[expert]..<starts[expert + 1] }
}
