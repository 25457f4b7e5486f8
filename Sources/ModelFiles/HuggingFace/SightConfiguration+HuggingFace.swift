import Foundation
import Model
import Storage
import Tokenization

/// A model that sees, as `LlavaForConditionalGeneration` of `transformers` has it: a language model in `text_config`, a tower
/// in `vision_config`, and between them two matrices with an activation (Liu et al. 2023, arXiv 2310.03744).
extension HuggingFaceConfig {
  static let sightArchitecture = "LlavaForConditionalGeneration"
  static let sightModelType = "llava"

  /// Whether the settings are those of a model that sees.
  var describesSight: Bool {
    let name = value("architectures")?.arrayValue?.first?.stringValue
    return name.map { $0 == Self.sightArchitecture } ?? (value("model_type")?.stringValue == Self.sightModelType)
  }

  /// The settings of the language model alone.
  func textModel() throws -> HuggingFaceConfig {
    guard let text = value("text_config"), case .object(var members) = text else {
      throw invalid("text_config is missing, the language model's settings")
    }
    // Of embedding and output the whole model's settings speak.
    if let ties = value("tie_word_embeddings") {
      members.removeAll { $0.key == "tie_word_embeddings" }
      members.append(JSON.Member("tie_word_embeddings", ties))
    }
    return HuggingFaceConfig(path: path, members: .object(members))
  }

  /// Tower, projector and placeholder.
  ///
  /// - Throws: `ConfigurationError` or `ModelFileError` for what is not supported.
  func sight(preprocessing: JSON?) throws -> SightConfiguration {
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: path, feature: text) }
    guard let members = value("vision_config"), case .object = members else {
      throw invalid("vision_config is missing, the tower's settings")
    }
    var tower = try HuggingFaceConfig(path: path, members: members).visionTower()
    guard try boolean("multimodal_projector_bias", default: true) else {
      throw refuse("multimodal_projector_bias is false; projectors have biases here")
    }
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
    tower.feature = .init(
      layer: layer < 0 ? states + layer : layer, isNormalized: false, dropsClassToken: strategy == "default")
    guard tower.kind == .clip || tower.feature.layer < tower.layerCount else {
      throw refuse(
        "vision_feature_layer \(layer) is the last one of a SigLIP tower, with its norm in some releases of transformers and "
          + "without it in others; an earlier one is supported")
    }
    guard tower.kind == .clip || strategy == "full" else {
      throw refuse("vision_feature_select_strategy 'default' leaves out a patch of a SigLIP tower; full is supported")
    }
    return SightConfiguration(
      tower: tower,
      projector: ProjectorConfiguration(kind: .mlp, activation: try gelu("projector_hidden_act", default: .exact)),
      placeholderIDs: [try integer("image_token_index", default: try integer("image_token_id", default: 32_000))],
      preprocessing: preprocessing)
  }

  /// A tower by its own settings: those of `CLIPVisionModel` or `SiglipVisionModel`, or `vision_config` of a whole model.
  ///
  /// - Throws: `ConfigurationError` or `ModelFileError` for what is not supported.
  func visionTower() throws -> VisionTowerConfiguration {
    let type = value("model_type")?.stringValue ?? "none"
    let kinds: [String: VisionTowerConfiguration.Kind] = [
      "clip_vision_model": .clip, "siglip_vision_model": .siglip,
    ]
    guard let kind = kinds[type] else {
      throw ModelFileError.unsupported(
        path: path,
        feature: "the tower '\(type.prefix(60))' is not supported; \(kinds.keys.sorted().joined(separator: ", ")) are")
    }
    guard try integer("num_channels", default: 3) == 3 else {
      throw invalid("num_channels of the tower is not 3")
    }
    let tower = VisionTowerConfiguration(
      kind: kind, hiddenSize: try integer("hidden_size", default: 768),
      intermediateSize: try integer("intermediate_size", default: 3072),
      layerCount: try integer("num_hidden_layers", default: 12),
      headCount: try integer("num_attention_heads", default: 12), imageSize: try integer("image_size", default: 224),
      patchSize: try integer("patch_size", default: kind == .clip ? 32 : 16),
      layerNormEpsilon: Float(try number("layer_norm_eps", default: kind == .clip ? 1e-5 : 1e-6)),
      activation: try gelu("hidden_act", default: kind == .clip ? .quick : .tanh))
    try tower.validate(source: path)
    return tower
  }

  private func gelu(_ key: String, default fallback: GELU) throws -> GELU {
    guard let value = value(key) else { return fallback }
    // transformers' other name of the same formula.
    if value == .string("gelu_new") { return .tanh }
    guard let name = value.stringValue, let gelu = GELU(rawValue: name) else {
      throw ModelFileError.unsupported(
        path: path,
        feature: "\(key) \(value.compactText.prefix(60)) is not supported; "
          + GELU.allCases.map(\.rawValue).joined(separator: ", ") + " are")
    }
    return gelu
  }
}

extension ModelConfiguration {
  /// This configuration, which sees, as the object of a `config.json`.
  func huggingFaceConfig(of sight: SightConfiguration, weightType: String) -> JSON {
    var text = self
    text.sight = nil
    return .object([
      .init("architectures", .array([.string(HuggingFaceConfig.sightArchitecture)])),
      .init("image_seq_length", .integer(sight.rowsPerPicture)),
      .init("image_token_index", .integer(sight.placeholderIDs[0])),
      .init("model_type", .string(HuggingFaceConfig.sightModelType)),
      .init("multimodal_projector_bias", .bool(true)),
      .init("projector_hidden_act", .string(sight.projector.activation.rawValue)),
      .init("text_config", text.huggingFaceConfig(weightType: weightType)),
      .init("tie_word_embeddings", .bool(tiesEmbeddings)),
      .init("torch_dtype", .string(weightType)),
      .init("vision_config", sight.tower.huggingFaceConfig),
      .init("vision_feature_layer", .integer(sight.tower.feature.layer - sight.tower.layerCount - 1)),
      .init("vision_feature_select_strategy", .string(sight.selectStrategy)),
    ])
  }

  /// The name of a weight in a model directory.
  func storedName(of entry: ParameterEntry) -> String {
    guard sight != nil else { return entry.key }
    switch entry.role {
    case .projector, .tower: return entry.key
    default: return "language_model." + entry.key
    }
  }
}

extension VisionTowerConfiguration {
  /// As the `vision_config` of a whole model.
  fileprivate var huggingFaceConfig: JSON {
    var members: [JSON.Member] = [
      .init("attention_dropout", .number(0)),
      .init("hidden_act", .string(activation.rawValue)),
      .init("hidden_size", .integer(hiddenSize)),
      .init("image_size", .integer(imageSize)),
      .init("intermediate_size", .integer(intermediateSize)),
      .init("layer_norm_eps", .number(Double("\(layerNormEpsilon)") ?? Double(layerNormEpsilon))),
      .init("model_type", .string(kind == .clip ? "clip_vision_model" : "siglip_vision_model")),
      .init("num_attention_heads", .integer(headCount)),
      .init("num_channels", .integer(3)),
      .init("num_hidden_layers", .integer(layerCount)),
      .init("patch_size", .integer(patchSize)),
    ]
    if kind == .siglip { members.append(.init("vision_use_head", .bool(false))) }
    return .object(members)
  }

  /// Whether a weight of a file takes no part in what a tower makes of a picture: what pools its rows, and the numbers of places.
  static func isUnused(_ name: String) -> Bool {
    name.hasPrefix(prefix + "head.") || name == prefix + "embeddings.position_ids"
  }
}

extension SightConfiguration {
  fileprivate var selectStrategy: String { tower.feature.dropsClassToken ? "default" : "full" }

  /// - Throws: `ModelFileError` for a model that LLaVA's layout cannot express.
  func checkHuggingFace(path: String) throws(ModelFileError) {
    let differences: [(isOther: Bool, text: String)] = [
      (projector.kind != .mlp, "a projector of another kind than two matrices (\(projector.kind.rawValue))"),
      (projector.unshuffle != 1, "patches that become one row"),
      (tower.feature.isNormalized, "the last norm of its tower applied"),
      (tower.kind == .siglip && tower.feature.layer == tower.layerCount, "the last layer of a SigLIP tower"),
      (placeholderIDs.count != 1, "several placeholders"),
    ]
    guard let difference = differences.first(where: \.isOther) else { return }
    throw .unsupported(path: path, feature: "a model with \(difference.text) has no place in LLaVA's directory")
  }

  /// The settings of the picture's processor: those that came with the tower, or what towers of the kind have.
  package var huggingFacePreprocessing: JSON {
    if let preprocessing { return preprocessing }
    let side = JSON.integer(tower.imageSize)
    if tower.kind == .siglip {
      return .object([
        .init("do_normalize", .bool(true)), .init("do_rescale", .bool(true)), .init("do_resize", .bool(true)),
        .init("image_mean", .array([.number(0.5), .number(0.5), .number(0.5)])),
        .init("image_processor_type", .string("SiglipImageProcessor")),
        .init("image_std", .array([.number(0.5), .number(0.5), .number(0.5)])),
        .init("resample", .integer(3)),
        .init("size", .object([.init("height", side), .init("width", side)])),
      ])
    }
    return .object([
      .init("crop_size", .object([.init("height", side), .init("width", side)])),
      .init("do_center_crop", .bool(true)), .init("do_convert_rgb", .bool(true)),
      .init("do_normalize", .bool(true)), .init("do_rescale", .bool(true)), .init("do_resize", .bool(true)),
      .init("image_processor_type", .string("CLIPImageProcessor")),
      .init("resample", .integer(3)),
      .init("size", .object([.init("shortest_edge", side)])),
    ])
  }

  /// Writes `preprocessor_config.json`, and beside a tokenizer `processor_config.json`, by which `transformers` puts
  /// placeholders into texts.
  ///
  /// - Throws: `FileError`, or what the tokenizer throws.
  func writeProcessor(into directory: String, hasTokenizer: Bool) throws {
    try AtomicFile.write(huggingFacePreprocessing.text() + "\n", to: directory + "/preprocessor_config.json")
    guard hasTokenizer else { return }
    let tokenizer = try Tokenizer(directory: directory)
    guard let token = tokenizer.spelling(of: Int32(placeholderIDs[0])) else { return }
    let settings = JSON.object([
      .init("image_token", .string(token)),
      .init("num_additional_image_tokens", .integer(tower.hasClassToken ? 1 : 0)),
      .init("patch_size", .integer(tower.patchSize)),
      .init("processor_class", .string("LlavaProcessor")),
      .init("vision_feature_select_strategy", .string(selectStrategy)),
    ])
    try AtomicFile.write(settings.text() + "\n", to: directory + "/processor_config.json")
  }
}

extension JSON {
  /// The settings of the pictures' processor in the directory of a `config.json`: `preprocessor_config.json`, or what a
  /// `processor_config.json` of `transformers` 5 holds of it; nil without either.
  ///
  /// - Throws: `FileError` or `ModelFileError`.
  static func preprocessing(besideConfig path: String) throws -> JSON? {
    let directory = (path as NSString).deletingLastPathComponent
    func settings(_ name: String) throws -> JSON? {
      let file = directory + "/" + name
      return FileManager.default.fileExists(atPath: file) ? try JSON(contentsOf: file) : nil
    }
    if let own = try settings("preprocessor_config.json") { return own }
    return try settings("processor_config.json")?["image_processor"]
  }
}
