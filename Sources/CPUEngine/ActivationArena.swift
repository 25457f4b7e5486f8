import Compute
import Model

/// What a forward pass keeps for the backward pass, for one layer. n = hiddenSize, T = tokens.
struct LayerActivations {
  /// [T, n] the residual stream as it came in, and between attention and the feed-forward block.
  let input: ArenaSlot
  let residualAfterAttention: ArenaSlot
  /// [T, 1] what each row was multiplied with.
  let attentionReciprocal: ArenaSlot
  let feedForwardReciprocal: ArenaSlot
  /// [T, query + 2·keyValue] queries, keys and values as attention takes them: rotated.
  let queriesKeysValues: ArenaSlot
  /// The same before normalisation, and [T, heads] what each head was multiplied with; only with q/k normalisation.
  let rawQueriesKeysValues: ArenaSlot
  let headReciprocals: ArenaSlot
  /// [T, heads] the logarithm of each softmax's sum.
  let logSumExp: ArenaSlot
  /// [T, query] the output of attention.
  let attended: ArenaSlot
  /// [T, 2·sharedIntermediate] gates and ups; on the way back their gradients take the same place.
  let gateUp: ArenaSlot
  /// Only in a mixture of experts.
  let experts: ExpertActivations?
}

/// The layout of everything that a pass computes with, except weights and gradients.
struct ActivationPlan {
  let layers: [LayerActivations]
  /// [T, n] the residual stream after the last layer, its normalisation, and what each row was multiplied with.
  let output: ArenaSlot
  let normalizedOutput: ArenaSlot
  let outputReciprocal: ArenaSlot
  /// [T, n] the normalised inputs of the two blocks of a layer: found again on the way back, where the gradients of
  /// weights need them, rather than kept for every layer.
  let attentionInput: ArenaSlot
  let feedForwardInput: ArenaSlot
  /// [T, sharedIntermediate] silu(gate)·up; on the way back first its gradient.
  let activated: ArenaSlot
  /// Only in a mixture of experts.
  let experts: ExpertWorkspace?
  /// [T, n] the normalised rows that have a loss, without the others.
  let lossRows: ArenaSlot
  /// [chunk, vocabulary] logits, and their gradients where these have another type.
  let logits: ArenaSlot
  let dLogits: ArenaSlot
  /// Only on the way back: [T, n] gradient of the residual stream, of a norm's output, and the stream's gradient in the
  /// type of the products before each block.
  let dResidual: ArenaSlot
  let dNormalized: ArenaSlot
  let dFeedForwardOutput: ArenaSlot
  let dAttentionOutput: ArenaSlot
  /// [T, query], [T, query + 2·keyValue]
  let dAttended: ArenaSlot
  let dQueriesKeysValues: ArenaSlot
  let byteCount: Int

  /// Rows of logits that one worker has at a time: enough for the product to be efficient, little enough for the cache; and
  /// where there are many workers and a large vocabulary, no more than 512 MiB of them together.
  static func lossRowsPerWorker(_ configuration: ModelConfiguration, workers: Int) -> Int {
    let rows = (1 << 27) / configuration.outputSize / workers
    return min(256, max(PassBatch.rowMultiple, rows / PassBatch.rowMultiple * PassBatch.rowMultiple))
  }

  /// - Parameters:
  ///   - rows: the most tokens of a batch.
  ///   - trains: keep every layer's activations for a backward pass; otherwise one layer's place serves all.
  ///   - recomputes: of every layer keep the input alone, and where its tokens went in a mixture of experts; the rest has
  ///     one place, and is found again on the way back.
  init(
    _ configuration: ModelConfiguration, rows: Int, precision: ElementType, workers: Int, trains: Bool, recomputes: Bool
  ) {
    var plan = ArenaPlan()
    func slot(_ columns: Int, _ type: ElementType, isNeeded: Bool = true) -> ArenaSlot {
      plan.reserve(rows: isNeeded ? rows : 0, columns: columns, type)
    }
    let hidden = configuration.hiddenSize
    let intermediate = configuration.sharedIntermediateSize
    let fused = configuration.querySize + 2 * configuration.keyValueSize
    let normalizesHeads = configuration.normalizesQueriesAndKeys
    let heads = configuration.headCount + configuration.keyValueHeadCount

    /// A layer's places; except those that it must keep, they are those of another layer, if there is one to share with.
    func layer(sharing other: LayerActivations?) -> LayerActivations {
      LayerActivations(
        input: slot(hidden, .float32), residualAfterAttention: other?.residualAfterAttention ?? slot(hidden, .float32),
        attentionReciprocal: other?.attentionReciprocal ?? slot(1, .float32),
        feedForwardReciprocal: other?.feedForwardReciprocal ?? slot(1, .float32),
        queriesKeysValues: other?.queriesKeysValues ?? slot(fused, precision),
        rawQueriesKeysValues: other?.rawQueriesKeysValues ?? slot(fused, precision, isNeeded: normalizesHeads),
        headReciprocals: other?.headReciprocals ?? slot(heads, .float32, isNeeded: normalizesHeads),
        logSumExp: other?.logSumExp ?? slot(configuration.headCount, .float32),
        attended: other?.attended ?? slot(configuration.querySize, precision),
        gateUp: other?.gateUp ?? slot(2 * intermediate, precision),
        experts: configuration.isMixture
          ? plan.reserveExpertActivations(
            configuration, rows: rows, precision: precision, workers: workers, sharing: other?.experts) : nil)
    }
    var layers: [LayerActivations] = []
    for _ in 0..<(trains ? configuration.layerCount : 1) {
      layers.append(layer(sharing: recomputes ? layers.first : nil))
    }
    self.layers = layers
    output = slot(hidden, .float32)
    normalizedOutput = slot(hidden, precision)
    outputReciprocal = slot(1, .float32)
    attentionInput = slot(hidden, precision)
    feedForwardInput = slot(hidden, precision)
    activated = slot(intermediate, precision)
    experts =
      configuration.isMixture
      ? plan.reserveExpertWorkspace(
        configuration, rows: rows, precision: precision, workers: workers, trains: trains) : nil
    lossRows = slot(hidden, precision)
    let chunk = Self.lossRowsPerWorker(configuration, workers: workers) * workers
    logits = plan.reserve(rows: chunk, columns: configuration.outputSize, .float32)
    dLogits =
      trains && precision == .bfloat16
      ? plan.reserve(rows: chunk, columns: configuration.outputSize, .bfloat16) : logits
    dResidual = slot(hidden, .float32, isNeeded: trains)
    dNormalized = slot(hidden, .float32, isNeeded: trains)
    dFeedForwardOutput = slot(hidden, precision, isNeeded: trains)
    dAttentionOutput = slot(hidden, precision, isNeeded: trains)
    dAttended = slot(configuration.querySize, precision, isNeeded: trains)
    dQueriesKeysValues = slot(fused, precision, isNeeded: trains)
    byteCount = plan.byteCount
  }
}
