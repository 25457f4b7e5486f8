import Model
import Storage

/// The classes of `transformers` for a model that sees, of which each can express other models. The first that can is written.
enum SightLayout: String, CaseIterable {
  /// A hidden state of a CLIP or SigLIP tower, two matrices with an activation, the language model (Liu et al. 2023, arXiv
  /// 2310.03744).
  case llava = "LlavaForConditionalGeneration"
  /// The last hidden state of a SigLIP2 tower with its norm, squares of its rows side by side, a LayerNorm and two matrices.
  case lfm2 = "Lfm2VlForConditionalGeneration"

  var modelType: String { self == .llava ? "llava" : "lfm2_vl" }

  /// Of the one token in whose places `transformers` puts the rows of pictures.
  private var tokenKey: String { self == .llava ? "image_token_index" : "image_token_id" }
  private var defaultToken: Int { self == .llava ? 32_000 : 396 }
  /// Of the tokens that stand for a picture where there are several, a setting of this program. `transformers` looks for the
  /// first of them in all places; what is read there does not depend on it.
  private static let tokensKey = "image_token_ids"

  /// What a model has that this class has no place for; nil where it can express the model.
  private func difference(_ sight: SightConfiguration) -> String? {
    let tower = sight.tower
    let differences: [(isOther: Bool, text: String)] =
      switch self {
      case .llava:
        [
          (sight.projector.kind == .normalizedMLP, "a projector with a norm"),
          (sight.projector.unshuffle != 1, "patches that become one row"),
          (tower.feature.isNormalized, "the last norm of its tower applied"),
          (tower.kind == .siglip && tower.feature.layer == tower.layerCount, "the last layer of a SigLIP tower"),
        ]
      case .lfm2:
        [
          (sight.projector.kind == .linear, "a projector of one matrix"), (tower.kind != .siglip, "a CLIP tower"),
          (!tower.feature.isNormalized, "a tower without its last norm"),
          (
            tower.imageSize % tower.patchSize != 0,
            "\(tower.imageSize) pixels that patches of \(tower.patchSize) do not cover"
          ),
        ]
      }
    return differences.first(where: \.isOther)?.text
  }

  /// The class for a model.
  ///
  /// - Throws: `ModelFileError` for a model that none can express.
  static func layout(of sight: SightConfiguration, path: String) throws(ModelFileError) -> SightLayout {
    if let layout = allCases.first(where: { $0.difference(sight) == nil }) { return layout }
    let reasons = allCases.map { "\($0.rawValue) has none with \($0.difference(sight) ?? "")" }
    throw .unsupported(
      path: path, feature: "no class of transformers has such a model: " + reasons.joined(separator: ", "))
  }

  /// The class for a model that has been checked by `layout(of:path:)` or read.
  static func layout(of sight: SightConfiguration) -> SightLayout {
    allCases.first { $0.difference(sight) == nil } ?? .llava
  }

  // MARK: - Weights

  /// The name of a weight in the class's files.
  func storedName(of entry: ParameterEntry) -> String {
    switch (self, entry.role) {
    case (.llava, .projector), (.llava, .tower): return entry.key
    case (.llava, _): return "language_model." + entry.key
    case (.lfm2, .projector), (.lfm2, .tower): return "model." + entry.key
    case (.lfm2, .output): return entry.key
    case (.lfm2, _): return "model.language_model." + entry.key.dropFirst("model.".count)
    }
  }

  /// Whether a weight lies in the files as a matrix of patches whose numbers are in the order of `PatchRows`.
  func storesPatchRows(_ entry: ParameterEntry) -> Bool { self == .lfm2 && entry.role == .tower(.patch, block: nil) }

  // MARK: - Settings

  /// What a model of this class has by its `config.json`.
  ///
  /// - Parameter preprocessing: of the pictures' processor beside it.
  /// - Throws: `ConfigurationError` or `ModelFileError` for what is not supported.
  func sight(_ config: HuggingFaceConfig, preprocessing: JSON?) throws -> SightConfiguration {
    guard let members = config.value("vision_config"), case .object = members else {
      throw config.invalid("vision_config is missing, the tower's settings")
    }
    var tower = try HuggingFaceConfig(path: config.path, members: members).visionTower()
    let projector: ProjectorConfiguration
    switch self {
    case .llava:
      tower.feature = try config.llavaFeature(of: tower)
      projector = try config.llavaProjector()
    case .lfm2:
      guard tower.kind == .siglip else {
        throw ModelFileError.unsupported(path: config.path, feature: "\(rawValue) with a CLIP tower is not supported")
      }
      tower.feature = .init(layer: tower.layerCount, isNormalized: true, dropsClassToken: false)
      projector = try config.lfm2Projector()
    }
    let token = try config.integer(tokenKey, default: config.integer("image_token_id", default: defaultToken))
    return SightConfiguration(
      tower: tower, projector: projector,
      placeholderIDs: try config.tokens(Self.tokensKey, default: [token]), preprocessing: preprocessing)
  }

  /// The object of a `config.json`.
  ///
  /// - Parameter text: the language model's configuration.
  func members(of sight: SightConfiguration, text: ModelConfiguration, weightType: String) -> JSON {
    let projector = sight.projector
    let act = JSON.string(
      projector.kind == .linear ? HuggingFaceConfig.noActivation : projector.activation.rawValue)
    var members: [JSON.Member] = [
      .init("architectures", .array([.string(rawValue)])),
      .init(tokenKey, .integer(sight.placeholderIDs[0])),
      .init("model_type", .string(modelType)),
      .init("projector_hidden_act", act),
      .init("text_config", text.huggingFaceConfig(weightType: weightType)),
      .init("tie_word_embeddings", .bool(text.tiesEmbeddings)),
      .init("torch_dtype", .string(weightType)),
      .init("vision_config", sight.tower.huggingFaceConfig(isOfAnySize: self == .lfm2)),
    ]
    if sight.placeholderIDs.count > 1 {
      members.append(.init(Self.tokensKey, .array(sight.placeholderIDs.map(JSON.integer))))
    }
    switch self {
    case .llava:
      let feature = sight.tower.feature
      members += [
        .init("image_seq_length", .integer(sight.rowsPerPicture)),
        .init("multimodal_projector_bias", .bool(true)),
        .init("vision_feature_layer", .integer(feature.layer - sight.tower.layerCount - 1)),
        .init("vision_feature_select_strategy", .string(sight.selectStrategy)),
      ]
    case .lfm2:
      members += [
        .init("downsample_factor", .integer(projector.unshuffle)),
        .init("projector_bias", .bool(true)),
        .init("projector_hidden_size", .integer(text.hiddenSize)),
        .init("projector_use_layernorm", .bool(projector.kind == .normalizedMLP)),
      ]
    }
    return .object(members.sorted { $0.key < $1.key })
  }
}

extension HuggingFaceConfig {
  /// The class of a model that sees; nil for another model.
  var sightLayout: SightLayout? {
    let name = value("architectures")?.arrayValue?.first?.stringValue
    let type = value("model_type")?.stringValue
    return SightLayout.allCases.first { name == nil ? $0.modelType == type : $0.rawValue == name }
  }

  /// What `transformers` calls an activation that changes nothing: a projector with it is one matrix.
  static let noActivation = "linear"

  fileprivate func llavaProjector() throws -> ProjectorConfiguration {
    guard try boolean("multimodal_projector_bias", default: true) else {
      throw ModelFileError.unsupported(
        path: path, feature: "multimodal_projector_bias is false; projectors have biases here")
    }
    guard value("projector_hidden_act") != .string(Self.noActivation) else {
      return ProjectorConfiguration(kind: .linear)
    }
    return ProjectorConfiguration(kind: .mlp, activation: try gelu("projector_hidden_act", default: .exact))
  }

  fileprivate func llavaFeature(
    of tower: VisionTowerConfiguration
  ) throws -> VisionTowerConfiguration.Feature {
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: path, feature: text) }
    if let layers = value("vision_feature_layer"), layers.integerValue == nil {
      throw refuse("vision_feature_layer is \(layers.compactText.prefix(60)); one layer is supported")
    }
    let layer = try integer("vision_feature_layer", default: -2)
    let strategy = value("vision_feature_select_strategy")?.stringValue ?? "default"
    guard strategy == "default" || strategy == "full" else {
      throw refuse("vision_feature_select_strategy '\(strategy.prefix(60))' is not supported; default and full are")
    }
    let states = tower.layerCount + 1
    guard (-states..<states).contains(layer) else {
      throw invalid("vision_feature_layer is \(layer), and the tower has \(states) hidden states")
    }
    let feature = VisionTowerConfiguration.Feature(
      layer: layer < 0 ? states + layer : layer, isNormalized: false, dropsClassToken: strategy == "default")
    guard tower.kind == .clip || feature.layer < tower.layerCount else {
      throw refuse(
        "vision_feature_layer \(layer) is the last one of a SigLIP tower, with its norm in some releases of transformers and "
          + "without it in others; an earlier one is supported")
    }
    guard tower.kind == .clip || strategy == "full" else {
      throw refuse("vision_feature_select_strategy 'default' leaves out a patch of a SigLIP tower; full is supported")
    }
    return feature
  }

  fileprivate func lfm2Projector() throws -> ProjectorConfiguration {
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: path, feature: text) }
    guard try boolean("projector_bias", default: true) else {
      throw refuse("projector_bias is false; projectors have biases here")
    }
    let width = value("text_config")?["hidden_size"]?.integerValue
    guard try integer("projector_hidden_size", default: 2560) == width else {
      throw refuse("projector_hidden_size is not the language model's hidden_size; only such projectors are supported")
    }
    return ProjectorConfiguration(
      kind: try boolean("projector_use_layernorm", default: true) ? .normalizedMLP : .mlp,
      activation: try gelu("projector_hidden_act", default: .exact),
      unshuffle: try integer("downsample_factor", default: 2))
  }
}
