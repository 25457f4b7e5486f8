import Compute
import Model

/// What a tower's forward pass keeps of a layer for the backward pass. n = hiddenSize, T = rows.
struct TowerActivations {
  /// [T, n] the residual stream as it came in, and between attention and the two-layer block.
  let input: ArenaSlot
  let residualAfterAttention: ArenaSlot
  /// [T, 2] mean and reciprocal deviation of each row.
  let attentionStatistics: ArenaSlot
  let feedForwardStatistics: ArenaSlot
  /// [T, 3·n]
  let queriesKeysValues: ArenaSlot
  /// [T, heads]
  let logSumExp: ArenaSlot
  /// [T, n]
  let attended: ArenaSlot
  /// [T, intermediate] before the activation.
  let up: ArenaSlot
}

/// The layout of everything that a tower computes with, except weights and gradients.
struct TowerPlan {
  let layers: [TowerActivations]
  /// [T, 3·patchSize²] the pixels of each row's patch; zeros for a class token.
  let patches: ArenaSlot
  /// [T, n] what the first norm takes in, and [T, 2]; only with CLIP.
  let embedded: ArenaSlot
  let firstStatistics: ArenaSlot
  /// [T, n] the residual stream after the layers, [T, 2] the statistics of the last norm and [T, n] what it makes.
  let output: ArenaSlot
  let finalStatistics: ArenaSlot
  let normalizedOutput: ArenaSlot
  /// [T, n] the normalised inputs of a layer's two blocks, found again on the way back.
  let attentionInput: ArenaSlot
  let feedForwardInput: ArenaSlot
  /// [T, intermediate]
  let activated: ArenaSlot
  /// Only on the way back.
  let dResidual: ArenaSlot
  let dNormalized: ArenaSlot
  let dFeedForwardOutput: ArenaSlot
  let dAttentionOutput: ArenaSlot
  let dUp: ArenaSlot
  let dAttended: ArenaSlot
  let dQueriesKeysValues: ArenaSlot
  let arena: ArenaPlan

  /// - Parameters:
  ///   - pictures: the most at once.
  ///   - trains: keep every layer's activations for a backward pass; otherwise one layer's place serves all.
  init(_ tower: VisionTowerConfiguration, pictures: Int, precision: ElementType, trains: Bool) {
    var plan = ArenaPlan()
    let rows = pictures * tower.rowCount
    func slot(_ columns: Int, _ type: ElementType = .float32, isNeeded: Bool = true) -> ArenaSlot {
      plan.reserve(rows: isNeeded ? rows : 0, columns: columns, type)
    }
    let hidden = tower.hiddenSize
    layers = (0..<(trains ? max(1, tower.feature.layer) : 1)).map { _ in
      TowerActivations(
        input: slot(hidden), residualAfterAttention: slot(hidden), attentionStatistics: slot(2),
        feedForwardStatistics: slot(2), queriesKeysValues: slot(3 * hidden, precision),
        logSumExp: slot(tower.headCount), attended: slot(hidden, precision), up: slot(tower.intermediateSize, precision)
      )
    }
    patches = slot(tower.patchWidth, precision)
    embedded = slot(hidden)
    firstStatistics = slot(2)
    output = slot(hidden)
    finalStatistics = slot(2)
    normalizedOutput = slot(hidden)
    attentionInput = slot(hidden, precision)
    feedForwardInput = slot(hidden, precision)
    activated = slot(tower.intermediateSize, precision)
    dResidual = slot(hidden, isNeeded: trains)
    dNormalized = slot(hidden, isNeeded: trains)
    dFeedForwardOutput = slot(hidden, precision, isNeeded: trains)
    dAttentionOutput = slot(hidden, precision, isNeeded: trains)
    dUp = slot(tower.intermediateSize, precision, isNeeded: trains)
    dAttended = slot(hidden, precision, isNeeded: trains)
    dQueriesKeysValues = slot(3 * hidden, precision, isNeeded: trains)
    arena = plan
  }
}
