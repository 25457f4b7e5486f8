import Compute
import Model

/// What a forward pass keeps for the backward pass, for one layer of a mixture of experts. R = the experts' rows.
struct ExpertActivations {
  /// The memory of an `ExpertRouting`.
  let routing: ArenaSlot
  /// [documents, experts] the load of each expert in each document.
  let load: ArenaSlot
  /// [R, 2·intermediate] gates and ups; on the way back their gradients take the same place.
  let gateUp: ArenaSlot
}

/// Working memory of a pass over a mixture of experts, which all layers share. m = intermediate size of an expert.
struct ExpertWorkspace {
  /// [R, n] the tokens' normalised rows, expert by expert; zero where a row has no token.
  let input: ArenaSlot
  /// [R, m] silu(gate)·up, times the expert's weight; on the way back first its gradient.
  let activated: ArenaSlot
  /// [T, n] float32: what one expert makes of a worker's tokens, and of their gradients on the way back.
  let output: ArenaSlot
  /// Only on the way back: [R, n] gradients of the experts' outputs; [R, 1] of the experts' weights; [T, experts] of the
  /// router's logits.
  let dOutput: ArenaSlot
  let dRowWeights: ArenaSlot
  let dRouterLogits: ArenaSlot
}

extension ArenaPlan {
  /// - Parameters:
  ///   - rows: the most tokens of a batch.
  ///   - other: another layer's activations, whose gates and ups have the same place.
  mutating func reserveExpertActivations(
    _ shape: ModelConfiguration, rows: Int, precision: ElementType, workers: Int, sharing other: ExpertActivations?
  ) -> ExpertActivations {
    let routingBytes = ExpertRouting.byteCount(
      tokens: rows, expertCount: shape.expertCount, expertsPerToken: shape.expertsPerToken, workers: workers)
    return ExpertActivations(
      routing: reserve(rows: 1, columns: routingBytes / 4, .float32),
      load: reserve(rows: rows, columns: shape.expertCount, .float32),
      gateUp: other?.gateUp
        ?? reserve(rows: shape.expertRows(rows, workers), columns: 2 * shape.intermediateSize, precision))
  }

  mutating func reserveExpertWorkspace(
    _ shape: ModelConfiguration, rows: Int, precision: ElementType, workers: Int, trains: Bool
  ) -> ExpertWorkspace {
    let expertRows = shape.expertRows(rows, workers)
    return ExpertWorkspace(
      input: reserve(rows: expertRows, columns: shape.hiddenSize, precision),
      activated: reserve(rows: expertRows, columns: shape.intermediateSize, precision),
      output: reserve(rows: rows, columns: shape.hiddenSize, .float32),
      dOutput: reserve(rows: trains ? expertRows : 0, columns: shape.hiddenSize, precision),
      dRowWeights: reserve(rows: trains ? expertRows : 0, columns: 1, .float32),
      dRouterLogits: reserve(rows: trains ? rows : 0, columns: shape.expertCount, .float32))
  }
}

extension ModelConfiguration {
  /// The most rows of all experts together for `tokens` tokens.
  func expertRows(_ tokens: Int, _ workers: Int) -> Int {
    ExpertRouting.rowCapacity(
      tokens: tokens, expertCount: expertCount, expertsPerToken: expertsPerToken, workers: workers)
  }
}
