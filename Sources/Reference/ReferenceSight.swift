import Model

/// A tower and a projector in plain loops in Double: what the fast ones are tested against.
package struct ReferenceSight {
  let sight: SightConfiguration
  let width: Int
  let table: ParameterTable
  /// [table.totalCount]
  let weights: [Double]

  /// - Parameters:
  ///   - width: the language model's hiddenSize.
  ///   - weights: laid out by `ParameterTable(sight, width:)`.
  package init(_ sight: SightConfiguration, width: Int, weights: [Double]) {
    self.sight = sight
    self.width = width
    self.weights = weights
    table = ParameterTable(sight, width: width)
  }

  private func values(_ role: ParameterRole) -> [Double] {
    guard let entry = table.entry(role) else { return [] }
    return Array(weights[entry.range])
  }

  private func tower(_ part: TowerPart, _ block: Int? = nil) -> [Double] { values(.tower(part, block: block)) }

  /// x·Wᵀ + b for each row of x [rows, inputs]; no bias if there is none.
  private func linear(_ x: [Double], _ weight: [Double], _ bias: [Double], inputs: Int) -> [Double] {
    let outputs = weight.count / inputs
    var result: [Double] = []
    for row in stride(from: 0, to: x.count, by: inputs) {
      for output in 0..<outputs {
        var sum = bias.isEmpty ? 0 : bias[output]
        for index in 0..<inputs { sum += x[row + index] * weight[output * inputs + index] }
        result.append(sum)
      }
    }
    return result
  }

  private func norm(_ x: [Double], _ weight: TowerPart, _ bias: TowerPart, _ block: Int? = nil) -> [Double] {
    Reference.layerNormForward(
      input: x, weight: tower(weight, block), bias: tower(bias, block),
      epsilon: Double(sight.tower.layerNormEpsilon)
    ).output
  }

  /// [featureRows, n] what the tower makes of a picture, [3, imageSize, imageSize].
  package func features(_ pixels: [Double]) -> [Double] {
    let shape = sight.tower
    let (hidden, side, patch) = (shape.hiddenSize, shape.imageSize, shape.patchSize)
    var patches: [Double] = []
    for row in 0..<shape.patchesPerSide {
      for column in 0..<shape.patchesPerSide {
        for channel in 0..<3 {
          for line in 0..<patch {
            let start = (channel * side + row * patch + line) * side + column * patch
            patches += pixels[start..<start + patch]
          }
        }
      }
    }
    var x =
      tower(.classToken) + linear(patches, tower(.patch), tower(.patchBias), inputs: shape.patchWidth)
    x = zip(x, tower(.position)).map(+)
    if shape.kind == .clip { x = norm(x, .firstNorm, .firstNormBias) }
    let attention = Reference.AttentionShape(
      headCount: shape.headCount, keyValueHeadCount: shape.headCount, headSize: shape.headSize,
      documentOffsets: [0, shape.rowCount], isCausal: false)
    for layer in 0..<shape.feature.layer {
      let input = norm(x, .attentionNorm, .attentionNormBias, layer)
      let parts = [(TowerPart.query, TowerPart.queryBias), (.key, .keyBias), (.value, .valueBias)].map {
        linear(input, tower($0.0, layer), tower($0.1, layer), inputs: hidden)
      }
      let fused = (0..<shape.rowCount).flatMap { row in
        parts.flatMap { $0[row * hidden..<(row + 1) * hidden] }
      }
      let attended = Reference.attentionForward(queriesKeysValues: fused, attention)
      x = zip(
        x, linear(attended, tower(.attentionOutput, layer), tower(.attentionOutputBias, layer), inputs: hidden)
      ).map(+)
      let up = linear(
        norm(x, .feedForwardNorm, .feedForwardNormBias, layer), tower(.up, layer), tower(.upBias, layer),
        inputs: hidden)
      let activated = Reference.geluForward(shape.activation, input: up)
      x = zip(
        x, linear(activated, tower(.down, layer), tower(.downBias, layer), inputs: shape.intermediateSize)
      ).map(+)
    }
    if shape.feature.isNormalized { x = norm(x, .finalNorm, .finalNormBias) }
    return Array(x.dropFirst(shape.feature.dropsClassToken ? hidden : 0))
  }

  /// [rowsPerPicture, width] what the projector makes of a tower's rows.
  package func rows(features: [Double]) -> [Double] {
    let (hidden, factor) = (sight.tower.hiddenSize, sight.projector.unshuffle)
    var x = features
    if factor > 1 {
      let side = sight.tower.patchesPerSide
      x = []
      for down in stride(from: 0, to: side, by: factor) {
        for across in stride(from: 0, to: side, by: factor) {
          for place in 0..<factor * factor {
            let source = (down + place / factor) * side + across + place % factor
            x += features[source * hidden..<(source + 1) * hidden]
          }
        }
      }
    }
    if sight.projector.kind == .normalizedMLP {
      x =
        Reference.layerNormForward(
          input: x, weight: values(.projector(.norm)), bias: values(.projector(.normBias)),
          epsilon: Double(ProjectorConfiguration.layerNormEpsilon)
        ).output
    }
    x = linear(x, values(.projector(.first)), values(.projector(.firstBias)), inputs: sight.projectorInputSize)
    if sight.projector.kind == .linear { return x }
    return linear(
      Reference.geluForward(sight.projector.activation, input: x), values(.projector(.second)),
      values(.projector(.secondBias)), inputs: width)
  }
}
