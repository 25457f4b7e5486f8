import Foundation
import Model
import Storage
import Tokenization

extension HuggingFaceConfig {
  /// The settings of the language model alone, of a model that sees.
  ///
  /// - Throws: `ConfigurationError` where there are none.
  func textModel(_ layout: SightLayout) throws -> HuggingFaceConfig {
    guard let text = value("text_config"), case .object(var members) = text else {
      throw invalid("text_config is missing, the language model's settings")
    }
    // Of embedding and output the whole model's settings speak.
    if let ties = value("tie_word_embeddings") ?? (layout == .lfm2 ? JSON.bool(true) : nil) {
      members.removeAll { $0.key == "tie_word_embeddings" }
      members.append(JSON.Member("tie_word_embeddings", ties))
    }
    return HuggingFaceConfig(path: path, members: .object(members))
  }

  /// A tower by its own settings: those of `CLIPVisionModel` or `SiglipVisionModel`, or `vision_config` of a whole model. One of
  /// `Siglip2VisionModel`, for pictures of any size, is read as that of the square of its places.
  ///
  /// - Throws: `ConfigurationError` or `ModelFileError` for what is not supported.
  func visionTower() throws -> VisionTowerConfiguration {
    let type = value("model_type")?.stringValue ?? "none"
    let kinds: [String: VisionTowerConfiguration.Kind] = [
      "clip_vision_model": .clip, "siglip_vision_model": .siglip, Self.anySizeTower: .siglip,
    ]
    guard let kind = kinds[type] else {
      throw ModelFileError.unsupported(
        path: path,
        feature: "the tower '\(type.prefix(60))' is not supported; \(kinds.keys.sorted().joined(separator: ", ")) are")
    }
    guard try integer("num_channels", default: 3) == 3 else {
      throw invalid("num_channels of the tower is not 3")
    }
    let patchSize = try integer("patch_size", default: kind == .clip ? 32 : 16)
    let tower = VisionTowerConfiguration(
      kind: kind, hiddenSize: try integer("hidden_size", default: 768),
      intermediateSize: try integer("intermediate_size", default: 3072),
      layerCount: try integer("num_hidden_layers", default: 12),
      headCount: try integer("num_attention_heads", default: 12),
      imageSize: try type == Self.anySizeTower
        ? squareSide(patchSize: patchSize) : integer("image_size", default: 224),
      patchSize: patchSize,
      layerNormEpsilon: Float(try number("layer_norm_eps", default: kind == .clip ? 1e-5 : 1e-6)),
      activation: try gelu("hidden_act", default: kind == .clip ? .quick : .tanh))
    try tower.validate(source: path)
    return tower
  }

  static let anySizeTower = "siglip2_vision_model"

  /// Pixels of a side of the square that a tower for pictures of any size has a place for each patch of.
  private func squareSide(patchSize: Int) throws -> Int {
    let patches = try integer("num_patches", default: 256)
    guard (1...1 << 14).contains(patches), (1...1 << 8).contains(patchSize) else {
      throw invalid("num_patches is \(patches) and patch_size \(patchSize), which is not possible")
    }
    let side = Int(Double(patches).squareRoot())
    guard side * side == patches else { throw invalid("num_patches is \(patches), which is no square") }
    return side * patchSize
  }

  func gelu(_ key: String, default fallback: GELU) throws -> GELU {
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
    return SightLayout.layout(of: sight).members(of: sight, text: text, weightType: weightType)
  }

  /// The name of a weight in a model directory.
  func storedName(of entry: ParameterEntry) -> String {
    sight.map { SightLayout.layout(of: $0).storedName(of: entry) } ?? entry.key
  }

  /// Whether a weight lies in a model directory as a matrix of patches, in the order of `PatchRows`.
  func storesPatchRows(_ entry: ParameterEntry) -> Bool {
    sight.map { SightLayout.layout(of: $0).storesPatchRows(entry) } ?? false
  }
}

extension VisionTowerConfiguration {
  /// As the `vision_config` of a whole model.
  ///
  /// - Parameter isOfAnySize: whether the class is that of towers for pictures of any size.
  func huggingFaceConfig(isOfAnySize: Bool) -> JSON {
    var members: [JSON.Member] = [
      .init("attention_dropout", .number(0)),
      .init("hidden_act", .string(activation.rawValue)),
      .init("hidden_size", .integer(hiddenSize)),
      isOfAnySize ? .init("num_patches", .integer(patchCount)) : .init("image_size", .integer(imageSize)),
      .init("intermediate_size", .integer(intermediateSize)),
      .init("layer_norm_eps", .number(Double("\(layerNormEpsilon)") ?? Double(layerNormEpsilon))),
      .init(
        "model_type",
        .string(
          isOfAnySize
            ? HuggingFaceConfig.anySizeTower : kind == .clip ? "clip_vision_model" : "siglip_vision_model")),
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
  var selectStrategy: String { tower.feature.dropsClassToken ? "default" : "full" }

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
  /// placeholders into texts: of a model of LLaVA's class, where the token that stands for a picture stays whole however often
  /// it is repeated. The processor of `transformers`' other class cuts pictures as such a model does not.
  ///
  /// - Throws: `FileError`, or what the tokenizer throws.
  func writeProcessor(into directory: String, hasTokenizer: Bool) throws {
    try AtomicFile.write(huggingFacePreprocessing.text() + "\n", to: directory + "/preprocessor_config.json")
    guard hasTokenizer, SightLayout.layout(of: self) == .llava else { return }
    let tokenizer = try Tokenizer(directory: directory)
    let id = Int32(placeholderIDs[0])
    guard let token = tokenizer.spelling(of: id),
      try tokenizer.encode(String(repeating: token, count: rowsPerPicture))
        == [Int32](repeating: id, count: rowsPerPicture)
    else { return }
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
