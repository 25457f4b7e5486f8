import Programs

/// The losses of all rows, and their gradients, a chunk of rows at a time: the logits of a chunk are gone before those of the
/// next are there.
struct OutputLayer {
  /// [tokens] in nats; 0 where the weight is 0.
  let losses: Tensor
  /// The same of the cross-entropy alone, where a teacher has a part in the losses.
  let crossEntropies: Tensor?
  /// x̄, [tokens, hidden], and that of the matrix.
  let dInput, dMatrix: Tensor

  /// - Parameters:
  ///   - input: x, [tokens, hidden].
  ///   - matrix: [outputs, hidden].
  ///   - weights: [tokens] how much each loss counts in what is differentiated.
  ///   - rows: of a chunk.
  ///   - isTrained: whether the gradients are asked for.
  init(
    _ input: Tensor, _ matrix: Tensor, _ loss: OutputLoss, weights: Tensor, rows: Int, _ precision: TensorElement,
    isTrained: Bool
  ) {
    let tokens = input.shape[0]
    var (losses, crossEntropies, dInput, dMatrix): ([Tensor], [Tensor], [Tensor], Tensor?) = ([], [], [], nil)
    for start in stride(from: 0, to: tokens, by: rows) {
      let chunk = start..<min(start + rows, tokens)
      let before = isTrained ? dMatrix : losses.last
      let x = input.slice(0, chunk)
      let layer = Linear(before.map { x.after($0) } ?? x, LinearWeight(matrix: matrix), precision)
      let found = loss.loss(layer.output, chunk, after: before, precision)
      let weight = weights.slice(0, chunk).reshaped([chunk.count, 1])
      func asked(_ values: Tensor) -> Tensor {
        weight.filled(0).kept(where: weight .== weight.filled(0), else: values).reshaped([chunk.count])
      }
      losses.append(asked(found.losses))
      if let found = found as? DistillationLoss { crossEntropies.append(asked(found.crossEntropies)) }
      let backward = layer.backward(found.backward(weights: weight))
      dInput.append(backward.dInput)
      dMatrix = dMatrix.map { $0 + backward.gradient.matrix } ?? backward.gradient.matrix
    }
    self.losses = .concatenated(losses, 0)
    self.crossEntropies = crossEntropies.isEmpty ? nil : .concatenated(crossEntropies, 0)
    self.dInput = .concatenated(dInput, 0)
    self.dMatrix = dMatrix!
  }
}
