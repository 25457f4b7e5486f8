/// How evenly a document's tokens are spread over the experts, as DeepSeek-V2 (arXiv 2405.04434, the
/// expert-level balance loss) and MiniMind v1 measure it: for the T tokens of a document that take k of E experts each,
///
///     fₑ = (choices of expert e) · E / (k·T)        Pₑ = mean of pₑ        loss = Σₑ fₑ·Pₑ
///
/// 1 if all experts get the same, E/k at the worst. f is a count and has no gradient; that of P is p̄ₜₑ = fₑ/T.
///
/// - Parameters:
///   - tokens: the document's, at least one.
///   - load: f, [experts], overwritten.
///   - choices: [experts], the number of choices of each is added.
/// - Returns: the loss.
package func expertBalance(
  _ routing: ExpertRouting, tokens: Range<Int>, load: UnsafeMutablePointer<Float>,
  choices: UnsafeMutablePointer<Double>
) -> Float {
  let k = routing.expertsPerToken
  load.update(repeating: 0, count: routing.expertCount)
  for slot in tokens.lowerBound * k..<tokens.upperBound * k { load[Int(routing.experts[slot])] += 1 }
  let scale = Float(routing.expertCount) / Float(k * tokens.count)
  var loss: Float = 0
  for expert in 0..<routing.expertCount {
    choices[expert] += Double(load[expert])
    load[expert] *= scale
    var sum: Float = 0
    for token in tokens { sum += routing.probabilities.row(token, of: Float.self)[expert] }
    loss += load[expert] * sum / Float(tokens.count)
  }
  return loss
}

/// The gradient of `scale` · the balance of a document with respect to the probabilities of some of its tokens.
///
/// - Parameters:
///   - load: f, [experts] of `expertBalance`.
///   - dProbabilities: float32, [rows, experts], overwritten.
package func expertBalanceBackward(
  load: UnsafePointer<Float>, scale: Float, documentLength: Int, dProbabilities: MatrixView
) {
  for row in 0..<dProbabilities.rows {
    let gradient = dProbabilities.row(row, of: Float.self)
    for expert in 0..<dProbabilities.columns { gradient[expert] = scale / Float(documentLength) * load[expert] }
  }
}
