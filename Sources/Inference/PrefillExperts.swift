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
  private let buffers: [AlignedBuffer]

  init(_ configuration: ModelConfiguration, type: ElementType, tokens: Int, workers: Int) throws(ComputeError) {
    let (count, chosen) = (configuration.expertCount, configuration.expertsPerToken)
    let routingBuffer = try AlignedBuffer(
      byteCount: ExpertRouting.byteCount(
        tokens: tokens, expertCount: count, expertsPerToken: chosen, workers: workers))
    routing = ExpertRouting(
      routingBuffer.base, tokens: tokens, expertCount: count, expertsPerToken: chosen, workers: workers)
    var buffers = [routingBuffer]
    func matrix(_ rows: Int, _ columns: Int, _ type: ElementType) throws(ComputeError) -> MatrixView {
      let buffer = try AlignedBuffer(byteCount: rows * columns * type.byteCount)
      buffers.append(buffer)
      return MatrixView(buffer.base, rows: rows, columns: columns, type: type)
    }
    let rows = ExpertRouting.rowCapacity(
      tokens: tokens, expertCount: count, expertsPerToken: chosen, workers: workers)
    input = try matrix(rows, configuration.hiddenSize, type)
    gateUp = try matrix(rows, 2 * configuration.intermediateSize, type)
    activated = try matrix(rows, configuration.intermediateSize, type)
    output = try matrix(tokens, configuration.hiddenSize, .float32)
    self.buffers = buffers
  }
}

extension InferenceModel {
  /// x += Σ over the chosen experts of (w · silu(g) ⊙ u)·W₂ᵀ with g, u = norm(x)·Wguᵀ, for the worker's tokens.
  func addExperts(_ experts: PrefillExperts, _ layer: Int, _ worker: Int, _ rows: Range<Int>) {
    // All workers' choices say where the rows of each expert begin.
    team.barrier()
    let routing = experts.routing
    let products = team.products[worker]
    routing.place(worker: worker, tokens: rows)
    for (expert, expertWeights) in weights.views.layers[layer].experts.enumerated() {
      let mine = routing.rows(of: expert, worker: worker)
      let tokens = routing.rowTokens + mine.lowerBound
      gatherRows(chunk.normalized, tokens, into: experts.input.rows(mine))
      let gateUp = experts.gateUp.rows(mine)
      products.multiply(experts.input.rows(mine), expertWeights.gateUp, bTransposed: true, into: gateUp)
      let activated = experts.activated.rows(mine)
      swiGLUForward(gateUp: gateUp, output: activated, rowWeights: routing.rowWeights + mine.lowerBound)
      let output = experts.output.rows(rows.lowerBound..<rows.lowerBound + mine.count)
      products.multiply(activated, expertWeights.down, bTransposed: true, into: output)
      scatterAddRows(output, tokens, into: chunk.stream)
    }
  }
}
