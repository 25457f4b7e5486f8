import Compute
import Model

/// The adapters' part of the pass, beside each product with frozen weights. x is what the site's linear layers read, y
/// what they make, s = alpha/rank. Nothing here crosses a worker's rows.
///
/// `rows` are the worker's of the batch, or, with an expert, those of the experts' rows that are its tokens'.
extension TrainingPass {
  /// h = s·dropout(x)·Aᵀ;  y += h·Bᵀ
  ///
  /// - Parameters:
  ///   - input: x, the rows.
  ///   - output: y, [rows, outputs of all the site's linear layers], added to.
  func addAdapters(
    _ site: LoRASite, expert: Int? = nil, _ layer: Int, _ worker: Int, _ rows: Range<Int>, input: MatrixView,
    to output: MatrixView
  ) {
    let place = place(site, expert)
    guard let lora, let weights = lora.weights[layer, place] else { return }
    let hidden = lora.hidden(layer, place, rows)
    multiply(worker, dropout(lora, place, layer, worker, rows, input), weights.a, bTransposed: true, into: hidden)
    scale(hidden, by: lora.scale)
    lap(.activation, worker)
    for adapter in weights.adapters {
      multiply(
        worker, hidden.columns(adapter.hidden), adapter.b, bTransposed: true, into: output.columns(adapter.outputs),
        accumulates: true)
    }
  }

  /// The way back through `addAdapters` to x: dh = s·dy·B;  dx += dropout'(dh·A).
  ///
  /// - Parameters:
  ///   - dOutput: dy, the rows.
  ///   - dInput: dx, added to.
  func addAdapterInputGradient(
    _ site: LoRASite, expert: Int? = nil, _ layer: Int, _ worker: Int, _ rows: Range<Int>, dOutput: MatrixView,
    to dInput: MatrixView
  ) {
    let place = place(site, expert)
    guard let lora, let weights = lora.weights[layer, place] else { return }
    let dHidden = lora.dHidden(place, rows)
    for adapter in weights.adapters {
      multiply(worker, dOutput.columns(adapter.outputs), adapter.b, into: dHidden.columns(adapter.hidden))
    }
    scale(dHidden, by: lora.scale)
    lap(.activation, worker)
    guard let (mask, firstRow) = lora.dropout(layer, place) else {
      return multiply(worker, dHidden, weights.a, into: dInput, accumulates: true)
    }
    let dDropped = lora.dropped(place, rows)
    multiply(worker, dHidden, weights.a, into: dDropped)
    forEachRun(place, layer, rows) { run, token in
      dropoutBackward(
        dOutput: dDropped.rows(run), dInput: dInput.rows(run), mask: mask, firstRow: firstRow + token)
    }
    lap(.activation, worker)
  }

  /// dB += dyᵀ·h;  dA += dhᵀ·dropout(x), with the dh that `addAdapterInputGradient` of the same place has left.
  func addAdapterGradients(
    _ site: LoRASite, expert: Int? = nil, _ layer: Int, _ worker: Int, _ rows: Range<Int>, dOutput: MatrixView,
    input: MatrixView
  ) {
    let place = place(site, expert)
    guard let lora, let gradients = lora.gradients[worker][layer, place] else { return }
    let hidden = lora.hidden(layer, place, rows)
    for adapter in gradients.adapters {
      multiply(
        worker, dOutput.columns(adapter.outputs), aTransposed: true, hidden.columns(adapter.hidden), into: adapter.b,
        accumulates: true)
    }
    multiply(
      worker, lora.dHidden(place, rows), aTransposed: true, dropout(lora, place, layer, worker, rows, input),
      into: gradients.a, accumulates: true)
  }

  /// dropout(x), the same at each call for a batch; x itself where nothing is dropped.
  private func dropout(
    _ lora: LoRAPass, _ place: LoRAPlace, _ layer: Int, _ worker: Int, _ rows: Range<Int>, _ input: MatrixView
  ) -> MatrixView {
    guard let (mask, firstRow) = lora.dropout(layer, place) else { return input }
    let dropped = lora.dropped(place, rows)
    forEachRun(place, layer, rows) { run, token in
      dropoutForward(
        input: input.rows(run), output: dropped.rows(run), mask: mask, firstRow: firstRow + token)
    }
    lap(.activation, worker)
    return dropped
  }

  /// Where the linear layers of the batch's rows are, or those of an expert.
  private func place(_ site: LoRASite, _ expert: Int?) -> LoRAPlace {
    LoRAPlace(
      site: site,
      block: expert.map(FeedForwardBlock.expert) ?? (shape.isMixture && site.isFeedForward ? .shared : .dense))
  }

  /// Calls `body` with rows, counted from the first of `rows`, whose tokens follow each other, and the first token: masks
  /// number the tokens, so that they do not depend on where an expert has its rows.
  private func forEachRun(
    _ place: LoRAPlace, _ layer: Int, _ rows: Range<Int>, _ body: (_ run: Range<Int>, _ token: Int) -> Void
  ) {
    guard case .expert = place.block else { return body(0..<rows.count, rows.lowerBound) }
    let tokens = routing(layer).rowTokens
    // A row without a token is zero, whatever is dropped of it.
    for row in rows { body(row - rows.lowerBound..<row - rows.lowerBound + 1, Int(max(0, tokens[row]))) }
  }
}
