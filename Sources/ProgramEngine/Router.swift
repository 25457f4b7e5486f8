import Programs

/// The router of a mixture of experts, for some tokens: which experts each takes, and how much each of them counts.
///
///     p = softmax(x·Wgᵀ)        e₁ … eₖ: the k largest of p        wⱼ = p(eⱼ) / (Σᵢ p(eᵢ) + 1e-20)
///
/// or, where weights are not normalised, wⱼ = p(eⱼ). Backward
///
///     p̄(eⱼ) += (w̄ⱼ - Σᵢ w̄ᵢ·wᵢ) / (Σᵢ p(eᵢ) + 1e-20), or w̄ⱼ        z̄ = p ⊙ (p̄ - Σ p·p̄)        x̄ = z̄·Wg        W̄g = z̄ᵀ·x
///
/// All in fp32. Of equal probabilities, the expert with the lower number comes first.
package struct Router {
  private let input, matrix: Tensor
  /// [tokens, 1] Σ p of the chosen, by which weights are divided; nil where they are not.
  private let sum: Tensor?
  /// p [tokens, experts]
  package let probabilities: Tensor
  /// For each of the k choices, [tokens, experts]: 1 for the expert, else 0.
  package let choices: [Tensor]
  /// For each of the k choices, w [tokens, 1].
  package let weights: [Tensor]

  /// - Parameters:
  ///   - input: x, float32, [tokens, hidden].
  ///   - matrix: Wg, [experts, hidden].
  package init(_ input: Tensor, _ matrix: Tensor, expertsPerToken: Int, normalizes: Bool) {
    self.input = input
    self.matrix = matrix
    let logits = input.timesTransposed(matrix)
    let exponentials = (logits - logits.maximum(1)).exponential
    let probabilities = exponentials / exponentials.sum(1)
    var (choices, rest) = ([Tensor](), probabilities)
    for _ in 0..<expertsPerToken {
      let expert = rest.indices(1).kept(where: rest .== rest.maximum(1), else: Double(rest.shape[1])).minimum(1)
      let choice = (rest.indices(1) .== expert).float32
      choices.append(choice)
      // Below all others, since none is above 1.
      rest = rest - choice * 2
    }
    let chosen = choices.map { (probabilities * $0).sum(1) }
    let sum = normalizes ? chosen.dropFirst().reduce(chosen[0], +) + 1e-20 : nil
    self.probabilities = probabilities
    self.choices = choices
    self.sum = sum
    weights = chosen.map { p in sum.map { p / $0 } ?? p }
  }

  /// - Parameters:
  ///   - dWeights: w̄, for each of the k choices, [tokens, 1].
  ///   - dProbabilities: [tokens, experts] what p̄ has from elsewhere: the balance of experts.
  package func backward(dWeights: [Tensor], dProbabilities: Tensor) -> (dInput: Tensor, dMatrix: Tensor) {
    let mean = zip(dWeights, weights).map { $0 * $1 }.reduce(dWeights[0].filled(0), +)
    var dP = dProbabilities
    for (choice, dWeight) in zip(choices, dWeights) {
      dP = dP + choice * (sum.map { (dWeight - mean) / $0 } ?? dWeight)
    }
    let dLogits = probabilities * (dP - (probabilities * dP).sum(1))
    return (dInput: dLogits.timesMatrix(matrix), dMatrix: dLogits.transposedTimes(input))
  }
}
