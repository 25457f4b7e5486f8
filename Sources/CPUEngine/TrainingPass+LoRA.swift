import Compute
import Model

/// The adapters' part of the pass, beside each product with frozen weights. x is what the site's linear layers read, y
/// what they make, s = alpha/rank. Nothing here crosses a worker's rows.
extension TrainingPass {
  /// h = s·dropout(x)·Aᵀ;  y += h·Bᵀ
  ///
  /// - Parameters:
  ///   - input: x, the worker's rows.
  ///   - output: y, [rows, outputs of all the site's linear layers], added to.
  func addAdapters(
    _ site: LoRASite, _ layer: Int, _ worker: Int, _ rows: Range<Int>, input: MatrixView, to output: MatrixView
  ) {
    guard let lora, let weights = lora.weights[layer, site] else { return }
    let hidden = lora.hidden(layer, site, rows)
    multiply(worker, dropout(lora, site, layer, worker, rows, input), weights.a, bTransposed: true, into: hidden)
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
  ///   - dOutput: dy, the worker's rows.
  ///   - dInput: dx, added to.
  func addAdapterInputGradient(
    _ site: LoRASite, _ layer: Int, _ worker: Int, _ rows: Range<Int>, dOutput: MatrixView, to dInput: MatrixView
  ) {
    guard let lora, let weights = lora.weights[layer, site] else { return }
    let dHidden = lora.dHidden(site, rows)
    for adapter in weights.adapters {
      multiply(worker, dOutput.columns(adapter.outputs), adapter.b, into: dHidden.columns(adapter.hidden))
    }
    scale(dHidden, by: lora.scale)
    lap(.activation, worker)
    guard let (mask, firstRow) = lora.dropout(layer, site) else {
      return multiply(worker, dHidden, weights.a, into: dInput, accumulates: true)
    }
    let dDropped = lora.dropped(site, rows)
    multiply(worker, dHidden, weights.a, into: dDropped)
    dropoutBackward(dOutput: dDropped, dInput: dInput, mask: mask, firstRow: firstRow + rows.lowerBound)
    lap(.activation, worker)
  }

  /// dB += dyᵀ·h;  dA += dhᵀ·dropout(x), with the dh that `addAdapterInputGradient` of the same site has left.
  func addAdapterGradients(
    _ site: LoRASite, _ layer: Int, _ worker: Int, _ rows: Range<Int>, dOutput: MatrixView, input: MatrixView
  ) {
    guard let lora, let gradients = lora.gradients[worker][layer, site] else { return }
    let hidden = lora.hidden(layer, site, rows)
    for adapter in gradients.adapters {
      multiply(
        worker, dOutput.columns(adapter.outputs), aTransposed: true, hidden.columns(adapter.hidden), into: adapter.b,
        accumulates: true)
    }
    multiply(
      worker, lora.dHidden(site, rows), aTransposed: true, dropout(lora, site, layer, worker, rows, input),
      into: gradients.a, accumulates: true)
  }

  /// dropout(x), the same at each call for a batch; x itself where nothing is dropped.
  private func dropout(
    _ lora: LoRAPass, _ site: LoRASite, _ layer: Int, _ worker: Int, _ rows: Range<Int>, _ input: MatrixView
  ) -> MatrixView {
    guard let (mask, firstRow) = lora.dropout(layer, site) else { return input }
    let dropped = lora.dropped(site, rows)
    dropoutForward(input: input, output: dropped, mask: mask, firstRow: firstRow + rows.lowerBound)
    lap(.activation, worker)
    return dropped
  }
}
