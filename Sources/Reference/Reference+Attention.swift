extension Reference {
  /// The shape of packed grouped-query attention on a fused matrix.
  ///
  /// A row of `queriesKeysValues` holds the queries of all heads, then the keys, then the values of all key/value heads.
  /// Document d is the rows `documentOffsets[d] ..< documentOffsets[d + 1]`; no token looks beyond its own document.
  package struct AttentionShape {
    package var headCount: Int
    package var keyValueHeadCount: Int
    package var headSize: Int
    package var documentOffsets: [Int]
    /// Whether a token sees itself and those before it, rather than its whole document.
    package var isCausal: Bool

    package init(
      headCount: Int, keyValueHeadCount: Int, headSize: Int, documentOffsets: [Int], isCausal: Bool = true
    ) {
      self.headCount = headCount
      self.keyValueHeadCount = keyValueHeadCount
      self.headSize = headSize
      self.documentOffsets = documentOffsets
      self.isCausal = isCausal
    }

    /// What a token of the document from `first` to `end` sees.
    package func seen(by token: Int, first: Int, end: Int) -> Range<Int> { first..<(isCausal ? token + 1 : end) }

    package var tokenCount: Int { documentOffsets[documentOffsets.count - 1] }
    /// The columns of the fused matrix, and of the output.
    package var fusedWidth: Int { (headCount + 2 * keyValueHeadCount) * headSize }
    package var outputWidth: Int { headCount * headSize }

    package func query(_ token: Int, head: Int) -> Int { token * fusedWidth + head * headSize }
    package func key(_ token: Int, head: Int) -> Int {
      token * fusedWidth + (headCount + head * keyValueHeadCount / headCount) * headSize
    }
    package func value(_ token: Int, head: Int) -> Int { key(token, head: head) + keyValueHeadCount * headSize }
    package func output(_ token: Int, head: Int) -> Int { token * outputWidth + head * headSize }
  }

  /// The attention weights of one query: softmax of q·k / √headSize over the tokens that it sees.
  @inlinable
  @specialized(where Scalar == Double)
  package static func attentionWeights<Scalar: BinaryFloatingPoint>(
    _ fused: [Scalar], _ shape: AttentionShape, token: Int, seen: Range<Int>, head: Int
  ) -> [Scalar] {
    let scale = 1 / Scalar(shape.headSize).squareRoot()
    var scores: [Scalar] = []
    for other in seen {
      var score: Scalar = 0
      for index in 0..<shape.headSize {
        score += fused[shape.query(token, head: head) + index] * fused[shape.key(other, head: head) + index]
      }
      scores.append(score * scale)
    }
    var maximum = scores[0]
    for score in scores where score > maximum { maximum = score }
    var sum: Scalar = 0
    for index in scores.indices {
      scores[index] = exponential(scores[index] - maximum)
      sum += scores[index]
    }
    for index in scores.indices { scores[index] /= sum }
    return scores
  }

  /// The weighted sum of values for every token and head.
  /// - Returns: [tokens, headCount·headSize].
  @inlinable
  @specialized(where Scalar == Double)
  package static func attentionForward<Scalar: BinaryFloatingPoint>(
    queriesKeysValues fused: [Scalar], _ shape: AttentionShape
  ) -> [Scalar] {
    var output = [Scalar](repeating: 0, count: shape.tokenCount * shape.outputWidth)
    for (first, end) in zip(shape.documentOffsets, shape.documentOffsets.dropFirst()) {
      for token in first..<end {
        for head in 0..<shape.headCount {
          let seen = shape.seen(by: token, first: first, end: end)
          let weights = attentionWeights(fused, shape, token: token, seen: seen, head: head)
          for other in seen {
            for index in 0..<shape.headSize {
              output[shape.output(token, head: head) + index] +=
                weights[other - first] * fused[shape.value(other, head: head) + index]
            }
          }
        }
      }
    }
    return output
  }

  /// The gradient of `attentionForward`, for queries, keys and values side by side as they came.
  ///
  /// With weights a = softmax(s) and o = Σ aⱼ·vⱼ:  dvⱼ += aⱼ·do,  daⱼ = do·vⱼ,  dsⱼ = aⱼ·(daⱼ - Σ aₖ·daₖ),
  /// and from s = q·k·scale:  dq += ds·k·scale,  dk += ds·q·scale.
  @inlinable
  @specialized(where Scalar == Double)
  package static func attentionBackward<Scalar: BinaryFloatingPoint>(
    dOutput: [Scalar], queriesKeysValues fused: [Scalar], _ shape: AttentionShape
  ) -> [Scalar] {
    let scale = 1 / Scalar(shape.headSize).squareRoot()
    var gradient = [Scalar](repeating: 0, count: fused.count)
    for (first, end) in zip(shape.documentOffsets, shape.documentOffsets.dropFirst()) {
      for token in first..<end {
        for head in 0..<shape.headCount {
          let seen = shape.seen(by: token, first: first, end: end)
          let weights = attentionWeights(fused, shape, token: token, seen: seen, head: head)
          let query = shape.query(token, head: head)
          let output = shape.output(token, head: head)
          var dWeights = weights
          var average: Scalar = 0
          for other in seen {
            let value = shape.value(other, head: head)
            var dWeight: Scalar = 0
            for index in 0..<shape.headSize {
              dWeight += dOutput[output + index] * fused[value + index]
              gradient[value + index] += weights[other - first] * dOutput[output + index]
            }
            dWeights[other - first] = dWeight
            average += weights[other - first] * dWeight
          }
          for other in seen {
            let key = shape.key(other, head: head)
            let dScore = weights[other - first] * (dWeights[other - first] - average) * scale
            for index in 0..<shape.headSize {
              gradient[query + index] += dScore * fused[key + index]
              gradient[key + index] += dScore * fused[query + index]
            }
          }
        }
      }
    }
    return gradient
  }
}
