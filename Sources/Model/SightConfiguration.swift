import Storage

/// What lies between a tower and a language model: a row of the tower becomes a row of the model's width.
package struct ProjectorConfiguration: Sendable, Equatable {
  package enum Kind: String, Sendable {
    /// One matrix (MiniMind-V's first version).
    case linear
    /// Matrix, GELU, matrix (LLaVA 1.5).
    case mlp
    /// LayerNorm, matrix, GELU, matrix (MiniMind-V of 2026, Lfm2-VL).
    case normalizedMLP
  }

  package var kind: Kind
  package var activation: GELU
  /// Patches of a side of a square that become one row, their numbers side by side; 1 for a row a patch.
  package var unshuffle: Int

  /// The epsilon of the norm of `normalizedMLP`.
  package static let layerNormEpsilon: Float = 1e-5

  package init(kind: Kind, activation: GELU = .exact, unshuffle: Int = 1) {
    self.kind = kind
    self.activation = activation
    self.unshuffle = unshuffle
  }
}

/// How a language model sees: a tower, a projector, and the tokens that stand for a picture's rows.
package struct SightConfiguration: Sendable, Equatable {
  package var tower: VisionTowerConfiguration
  package var projector: ProjectorConfiguration
  /// Tokens that stand for a picture, each of them as often as the others, one after the other: one of them, or v1's two.
  package var placeholderIDs: [Int]
  /// What a picture goes through before the tower sees it: the object of a `preprocessor_config.json`, kept whole. Nil: what
  /// towers of the kind have by default, at this one's size.
  package var preprocessing: JSON?

  package init(
    tower: VisionTowerConfiguration, projector: ProjectorConfiguration, placeholderIDs: [Int],
    preprocessing: JSON? = nil
  ) {
    self.tower = tower
    self.projector = projector
    self.placeholderIDs = placeholderIDs
    self.preprocessing = preprocessing
  }

  /// Rows of the language model that a picture fills.
  package var rowsPerPicture: Int { tower.featureRows / (projector.unshuffle * projector.unshuffle) }
  /// Numbers of a row that the projector takes in.
  package var projectorInputSize: Int { tower.hiddenSize * projector.unshuffle * projector.unshuffle }
  /// [rowsPerPicture] the tokens that stand for a picture.
  package var placeholder: [Int32] {
    placeholderIDs.flatMap { [Int32](repeating: Int32($0), count: rowsPerPicture / placeholderIDs.count) }
  }

  /// - Parameter source: the file that the message begins with.
  package func validate(source: String, vocabularySize: Int) throws(ConfigurationError) {
    try tower.validate(source: source)
    func refuse(_ fault: String) -> ConfigurationError { .invalid(source: source, fault: fault) }
    guard (1...4).contains(projector.unshuffle), tower.patchesPerSide % projector.unshuffle == 0 else {
      throw refuse(
        "\(tower.patchesPerSide) patches of a side are not a multiple of \(projector.unshuffle), of which one row is made"
      )
    }
    guard projector.unshuffle == 1 || tower.featureRows == tower.patchCount else {
      throw refuse("patches that become one row, and a row of the class token among them")
    }
    guard !placeholderIDs.isEmpty, rowsPerPicture > 0, rowsPerPicture % placeholderIDs.count == 0 else {
      throw refuse("\(placeholderIDs.count) placeholders for the \(rowsPerPicture) rows of a picture")
    }
    for token in placeholderIDs where token < 0 || token >= vocabularySize {
      throw refuse("the placeholder \(token) is outside the vocabulary of \(vocabularySize)")
    }
  }
}
