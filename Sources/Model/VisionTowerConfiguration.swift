/// The shape of a tower that turns pictures into rows: a ViT as CLIP and SigLIP of fixed resolution have it.
///
/// Radford et al. 2021 (arXiv 2103.00020), Zhai et al. 2023 (arXiv 2303.15343), Tschannen et al. 2025 (arXiv 2502.14786);
/// names and order of operations as `CLIPVisionModel` and `SiglipVisionModel` of `transformers` have them.
package struct VisionTowerConfiguration: Sendable, Equatable {
  package enum Kind: String, Sendable {
    /// A class token before the patches, a norm before the first layer, patches without a bias.
    case clip
    /// Patches alone, with a bias.
    case siglip
  }

  package var kind: Kind
  package var hiddenSize: Int
  /// Width inside the two-layer block.
  package var intermediateSize: Int
  package var layerCount: Int
  package var headCount: Int
  /// Pixels of a side of the square picture.
  package var imageSize: Int
  /// Pixels of a side of a patch; what is left of a picture that it does not divide is not seen.
  package var patchSize: Int
  package var layerNormEpsilon: Float
  package var activation: GELU
  /// What of the tower a projector gets.
  package var feature: Feature

  /// Which hidden state of a tower is used, and which of its rows.
  package struct Feature: Sendable, Equatable {
    /// The layers that a row passes: 0 for the embeddings, `layerCount` for all of them.
    package var layer: Int
    /// Whether the tower's last norm is applied; only after all layers.
    package var isNormalized: Bool
    /// Whether row 0, the class token, is left out; only with CLIP.
    package var dropsClassToken: Bool

    package init(layer: Int, isNormalized: Bool, dropsClassToken: Bool) {
      self.layer = layer
      self.isNormalized = isNormalized
      self.dropsClassToken = dropsClassToken
    }
  }

  /// - Parameters:
  ///   - layerNormEpsilon, activation: those of `transformers`' class when nil.
  ///   - feature: the last hidden state as `transformers` has it (CLIP's without the last norm), all rows, when nil.
  package init(
    kind: Kind, hiddenSize: Int, intermediateSize: Int, layerCount: Int, headCount: Int, imageSize: Int,
    patchSize: Int, layerNormEpsilon: Float? = nil, activation: GELU? = nil, feature: Feature? = nil
  ) {
    self.kind = kind
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.imageSize = imageSize
    self.patchSize = patchSize
    self.layerNormEpsilon = layerNormEpsilon ?? (kind == .clip ? 1e-5 : 1e-6)
    self.activation = activation ?? (kind == .clip ? .quick : .tanh)
    self.feature = feature ?? Feature(layer: layerCount, isNormalized: kind == .siglip, dropsClassToken: false)
  }

  package var headSize: Int { hiddenSize / max(headCount, 1) }
  package var hasClassToken: Bool { kind == .clip }
  /// Patches of a side.
  package var patchesPerSide: Int { imageSize / max(patchSize, 1) }
  package var patchCount: Int { patchesPerSide * patchesPerSide }
  /// Numbers of a patch: 3·patchSize².
  package var patchWidth: Int { 3 * patchSize * patchSize }
  /// Rows inside the tower, the class token's included.
  package var rowCount: Int { patchCount + (hasClassToken ? 1 : 0) }
  /// Rows that a projector gets.
  package var featureRows: Int { rowCount - (feature.dropsClassToken ? 1 : 0) }

  /// Refuses shapes that no tower can have, or that are too large to be meant.
  ///
  /// - Parameter source: the file that the message begins with.
  package func validate(source: String) throws(ConfigurationError) {
    let bounds: [(name: String, value: Int, limit: Int)] = [
      ("hidden_size", hiddenSize, 1 << 14), ("intermediate_size", intermediateSize, 1 << 16),
      ("num_hidden_layers", layerCount, 1 << 8), ("num_attention_heads", headCount, 1 << 8),
      ("image_size", imageSize, 1 << 12), ("patch_size", patchSize, 1 << 8),
    ]
    for bound in bounds where bound.value < 1 || bound.value > bound.limit {
      throw .invalid(
        source: source, fault: "\(bound.name) of the tower is \(bound.value), expected 1 to \(bound.limit)")
    }
    func refuse(_ fault: String) -> ConfigurationError { .invalid(source: source, fault: fault) }
    guard hiddenSize % headCount == 0, headSize % 2 == 0 else {
      throw refuse("the tower's hidden_size \(hiddenSize) over \(headCount) heads is not an even number each")
    }
    guard patchSize <= imageSize, rowCount <= 1 << 14 else {
      throw refuse("a picture of \(imageSize) pixels in patches of \(patchSize) is not possible, or too many of them")
    }
    guard layerNormEpsilon.isFinite, layerNormEpsilon > 0 else {
      throw refuse("layer_norm_eps of the tower is \(layerNormEpsilon), a positive number is needed")
    }
    guard (0...layerCount).contains(feature.layer) else {
      throw refuse("the hidden state \(feature.layer) of a tower of \(layerCount) layers does not exist")
    }
    guard !feature.isNormalized || feature.layer == layerCount else {
      throw refuse("the tower's last norm is applied after its last layer only")
    }
    guard !feature.dropsClassToken || hasClassToken else {
      throw refuse("the tower has no class token that could be left out")
    }
  }
}

/// The Gaussian error linear unit, x·Φ(x), and its approximations (Hendrycks & Gimpel 2016, arXiv 1606.08415).
package enum GELU: String, Sendable, CaseIterable {
  /// x·Φ(x) with the error function.
  case exact = "gelu"
  /// ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
  case tanh = "gelu_pytorch_tanh"
  /// x·σ(1.702·x)
  case quick = "quick_gelu"
}
