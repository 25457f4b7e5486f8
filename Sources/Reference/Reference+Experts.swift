extension Reference {
  /// What a router makes of some tokens.
  package struct Routing<Scalar: BinaryFloatingPoint> {
    /// [tokens, experts]
    package var probabilities: [Scalar]
    /// [tokens][k] the chosen experts and how much each counts.
    package var experts: [[Int]]
    package var weights: [[Scalar]]
  }

  /// p = softmax(x·Wgᵀ), the k largest, and w = p / (Σ p + 1e-20) over these, or w = p.
  package static func routerForward<Scalar: BinaryFloatingPoint>(
    input: [Scalar], router: [Scalar], expertCount: Int, expertsPerToken: Int, normalizes: Bool = true, width: Int
  ) -> Routing<Scalar> {
    let rows = input.count / width
    let logits = multiply(input, router, bTransposed: true, rows: rows, inner: width, columns: expertCount)
    var result = Routing<Scalar>(probabilities: [], experts: [], weights: [])
    for row in 0..<rows {
      let z = logits[row * expertCount..<(row + 1) * expertCount]
      let exponentials = z.map { exponential($0 - z.max()!) }
      let sum = exponentials.reduce(0, +)
      let p = exponentials.map { $0 / sum }
      let order = p.indices.sorted { p[$0] != p[$1] ? p[$0] > p[$1] : $0 < $1 }.prefix(expertsPerToken)
      let chosenSum = normalizes ? order.reduce(Scalar(1e-20)) { $0 + p[$1] } : 1
      result.probabilities += p
      result.experts.append(Array(order))
      result.weights.append(order.map { p[$0] / chosenSum })
    }
    return result
  }

  /// The gradient of the logits from those of the weights, [tokens][k], and of the probabilities, [tokens, experts].
  package static func routerBackward<Scalar: BinaryFloatingPoint>(
    _ routing: Routing<Scalar>, normalizes: Bool = true, dWeights: [[Scalar]], dProbabilities: [Scalar]
  ) -> [Scalar] {
    let expertCount = dProbabilities.count / routing.experts.count
    var result: [Scalar] = []
    for (row, chosen) in routing.experts.enumerated() {
      let p = Array(routing.probabilities[row * expertCount..<(row + 1) * expertCount])
      var dP = Array(dProbabilities[row * expertCount..<(row + 1) * expertCount])
      let sum = chosen.reduce(Scalar(1e-20)) { $0 + p[$1] }
      // Every weight depends on every chosen probability where they are normalised.
      for (i, expert) in chosen.enumerated() {
        for j in chosen.indices where normalizes || i == j {
          let slope = normalizes ? (i == j ? 1 / sum : 0) - p[chosen[j]] / (sum * sum) : 1
          dP[expert] += dWeights[row][j] * slope
        }
      }
      for e in p.indices {
        var gradient: Scalar = 0
        for other in p.indices { gradient += dP[other] * p[other] * ((other == e ? 1 : 0) - p[e]) }
        result.append(gradient)
      }
    }
    return result
  }

  /// Σ over experts of (choices · E / (k·T)) · (mean probability), for the tokens of one document.
  package static func expertBalance<Scalar: BinaryFloatingPoint>(
    _ routing: Routing<Scalar>, tokens: Range<Int>, expertCount: Int
  ) -> Scalar {
    var result: Scalar = 0
    for expert in 0..<expertCount {
      let load = expertLoad(routing, tokens: tokens, expert: expert, expertCount: expertCount)
      let sum = tokens.reduce(Scalar(0)) { $0 + routing.probabilities[$1 * expertCount + expert] }
      result += load * sum / Scalar(tokens.count)
    }
    return result
  }

  /// The gradient of `expertBalance` with respect to the probabilities of the document's tokens: [tokens, experts].
  package static func expertBalanceBackward<Scalar: BinaryFloatingPoint>(
    _ routing: Routing<Scalar>, tokens: Range<Int>, expertCount: Int
  ) -> [Scalar] {
    let row = (0..<expertCount).map {
      expertLoad(routing, tokens: tokens, expert: $0, expertCount: expertCount) / Scalar(tokens.count)
    }
    return tokens.flatMap { _ in row }
  }

  private static func expertLoad<Scalar: BinaryFloatingPoint>(
    _ routing: Routing<Scalar>, tokens: Range<Int>, expert: Int, expertCount: Int
  ) -> Scalar {
    let choices = tokens.reduce(0) { $0 + routing.experts[$1].filter { $0 == expert }.count }
    return Scalar(choices * expertCount) / Scalar(routing.experts[0].count * tokens.count)
  }
}
