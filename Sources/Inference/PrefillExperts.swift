import Compute
import Transformer

/// Working memory for the routed experts of a chunk of tokens.
final class PrefillExperts {
  let routing: ExpertRouting
  /// [experts' rows, hidden] the tokens' normalised rows, expert by expert.
  let input: MatrixView
  /// [experts' rows, 2·intermediate] and [experts' rows, intermediate]
  let gateUp: MatrixView
  let activated: MatrixView
  /// [rows, hidden] what one expert makes of each worker's tokens.
  let output: MatrixView
  private let buffer: AlignedBuffer

  init(_ configuration: ModelConfiguration, type: ElementType, tokens: Int, workers: Int) throws(ComputeError) {
    let (count, chosen) = (configuration.expertCount, configuration.expertsPerToken)
    let rows = ExpertRouting.rowCapacity(
      tokens: tokens, expertCount: count, expertsPerToken: chosen, workers: workers)
    let routingBytes = ExpertRouting.byteCount(
      tokens: tokens, expertCount: count, expertsPerToken: chosen, workers: workers)
    var plan = ArenaPlan()
    let routing = plan.reserve(rows: 1, columns: routingBytes / 4)
    let input = plan.reserve(rows: rows, columns: configuration.hiddenSize, type)
    let gateUp = plan.reserve(rows: rows, columns: 2 * configuration.intermediateSize, type)
    let activated = plan.reserve(rows: rows, columns: configuration.intermediateSize, type)
    let output = plan.reserve(rows: tokens, columns: configuration.hiddenSize)
    buffer = try AlignedBuffer(plan)
    self.routing = ExpertRouting(
      buffer.view(routing).base, tokens: tokens, expertCount: count, expertsPerToken: chosen, workers: workers)
    self.input = buffer.view(input)
    self.gateUp = buffer.view(gateUp)
    self.activated = buffer.view(activated)
    self.output = buffer.view(output)
  }
}

extension InferenceModel {
  /// x += Σ over the chosen experts of (w · silu(g) ⊙ u)·W₂ᵀ with g, u = norm(x)·Wguᵀ, for the worker's tokens.
  func addExperts(_ experts: PrefillExperts, _ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    // All workers' choices say where the rows of each expert begin.
    team.barrier()
    let routing = experts.routing
    routing.place(worker: worker, tokens: rows)
    for (expert, expertWeights) in weights.layers[layer].experts.enumerated() {
      let mine = routing.rows(of: expert, worker: worker)
      let tokens = routing.rowTokens + mine.lowerBound
      gatherRows(chunk.normalized, tokens, into: experts.input.rows(mine))
      let activated = experts.activated.rows(mine)
      activate(
        expertWeights, experts.input.rows(mine), experts.gateUp.rows(mine), into: activated,
        rowWeights: routing.rowWeights + mine.lowerBound, worker)
      let output = experts.output.rows(rows.lowerBound..<rows.lowerBound + mine.count)
      multiplyRows(expertWeights.down, scratch[worker].prepare(activated, for: type), into: output)
      scatterAddRows(output, tokens, into: chunk.stream)
    }
  }
}
