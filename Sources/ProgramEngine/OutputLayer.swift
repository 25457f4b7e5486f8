import Programs

/// The losses of all rows, and their gradients, a chunk of rows at a time: the logits of a chunk are gone before those of the
/// next are there.
struct OutputLayer {
  /// [tokens] in nats; 0 where the weight is 0.
  let losses: Tensor
  /// x̄, [tokens, hidden], and that of the matrix.
  let dInput, dMatrix: Tensor

  /// - Parameters:
  ///   - input: x, [tokens, hidden].
  ///   - matrix: [vocabulary, hidden].
  ///   - targets: int32, [tokens].
  ///   - weights: [tokens] how much each loss counts in what is differentiated.
  ///   - rows: of a chunk.
  ///   - isTrained: whether the gradients are asked for.
  init(
    _ input: Tensor, _ matrix: Tensor, targets: Tensor, weights: Tensor, rows: Int, _ precision: TensorElement,
    isTrained: Bool
  ) {
    let tokens = input.shape[0]
    var (losses, dInput, dMatrix): ([Tensor], [Tensor], Tensor?) = ([], [], nil)
    for start in stride(from: 0, to: tokens, by: rows) {
      let chunk = start..<min(start + rows, tokens)
      let column = [chunk.count, 1]
      let before = isTrained ? dMatrix : losses.last
      let x = input.slice(0, chunk)
      let layer = Linear(before.map { x.after($0) } ?? x, LinearWeight(matrix: matrix), precision)
      let entropy = CrossEntropy(logits: layer.output, targets: targets.slice(0, chunk).reshaped(column))
      let weight = weights.slice(0, chunk).reshaped(column)
      losses.append(
        weight.filled(0).kept(where: weight .== weight.filled(0), else: entropy.losses).reshaped([chunk.count]))
      let backward = layer.backward(entropy.backward(weights: weight))
      dInput.append(backward.dInput)
      dMatrix = dMatrix.map { $0 + backward.gradient.matrix } ?? backward.gradient.matrix
    }
    self.losses = .concatenated(losses, 0)
    self.dInput = .concatenated(dInput, 0)
    self.dMatrix = dMatrix!
  }
}
