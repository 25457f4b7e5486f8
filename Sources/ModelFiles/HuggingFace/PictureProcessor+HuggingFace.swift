import Model
import Storage
import Vision

extension PictureProcessor {
  /// The processor that a `preprocessor_config.json` describes, CLIP's or SigLIP's.
  ///
  /// - Throws: `FileError`; `ConfigurationError` for values of another kind; `ModelFileError` for what is not supported.
  package init(preprocessorConfig path: String) throws {
    try self.init(HuggingFaceConfig(path: path, json: JSON(contentsOf: path)))
  }

  /// What a model's tower is given.
  ///
  /// - Parameter path: of the model, for messages.
  /// - Throws: `ConfigurationError` or `ModelFileError`.
  package init(_ sight: SightConfiguration, path: String) throws {
    try self.init(
      HuggingFaceConfig(path: path + "/preprocessor_config.json", json: sight.huggingFacePreprocessing))
  }

  private init(_ config: HuggingFaceConfig) throws {
    let path = config.path
    func refuse(_ text: String) -> ModelFileError { .unsupported(path: path, feature: text) }
    let name = (config.value("image_processor_type") ?? config.value("feature_extractor_type"))?.stringValue
    let kinds = [
      "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor", "SiglipImageProcessor",
      "SiglipImageProcessorFast",
    ]
    guard let name, kinds.contains(name) else {
      throw refuse(
        "the image processor '\((name ?? "none").prefix(60))' is not supported; CLIPImageProcessor and SiglipImageProcessor are"
      )
    }
    let isCLIP = name.hasPrefix("CLIP")
    if try config.boolean("do_pad", default: false) { throw refuse("do_pad is true; pictures are not padded") }
    self.init()
    let code = try config.integer("resample", default: Resampling.bicubic.rawValue)
    guard let resampling = Resampling(rawValue: code) else {
      throw refuse(
        "resample \(code) is not supported; \(Resampling.bilinear.rawValue), bilinear, and \(Resampling.bicubic.rawValue), bicubic, are"
      )
    }
    self.resampling = resampling
    if try config.boolean("do_resize", default: true) { size = try config.pictureSize(isCLIP: isCLIP) }
    if try config.boolean("do_center_crop", default: isCLIP) { crop = try config.pictureCrop() }
    if try config.boolean("do_rescale", default: true) {
      rescaling = try config.number("rescale_factor", default: 1.0 / 255)
    }
    if try config.boolean("do_normalize", default: true) {
      let (mean, deviation) = isCLIP ? (Self.clipMean, Self.clipDeviation) : ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
      self.mean = try config.channels("image_mean", default: mean)
      self.deviation = try config.channels("image_std", default: deviation)
      guard self.deviation.allSatisfy({ $0 > 0 }) else {
        throw config.invalid("image_std has a number that is not above 0")
      }
    }
  }

  /// Of the pictures that CLIP was trained on.
  private static let clipMean = [0.48145466, 0.4578275, 0.40821073]
  private static let clipDeviation = [0.26862954, 0.26130258, 0.27577711]
}

extension HuggingFaceConfig {
  /// A number is the shorter side with CLIP's processors, and both sides with others.
  fileprivate func pictureSize(isCLIP: Bool) throws -> PictureProcessor.Size {
    guard let size = value("size") else { return isCLIP ? .shortestEdge(224) : .exact(width: 224, height: 224) }
    if size.integerValue != nil {
      let side = try side("size", of: self)
      return isCLIP ? .shortestEdge(side) : .exact(width: side, height: side)
    }
    let sides = HuggingFaceConfig(path: path, members: size)
    if sides.value("shortest_edge") != nil, sides.value("longest_edge") == nil {
      return .shortestEdge(try side("shortest_edge", of: sides))
    }
    guard sides.value("width") != nil, sides.value("height") != nil else {
      throw ModelFileError.unsupported(
        path: path,
        feature: "size \(size.compactText.prefix(60)) is not supported; shortest_edge is, and height with width")
    }
    return .exact(width: try side("width", of: sides), height: try side("height", of: sides))
  }

  fileprivate func pictureCrop() throws -> PictureProcessor.Crop {
    guard let size = value("crop_size") else { return .init(width: 224, height: 224) }
    if size.integerValue != nil {
      let side = try side("crop_size", of: self)
      return .init(width: side, height: side)
    }
    let sides = HuggingFaceConfig(path: path, members: size)
    return .init(width: try side("width", of: sides), height: try side("height", of: sides))
  }

  private func side(_ key: String, of config: HuggingFaceConfig) throws -> Int {
    let side = try config.integer(key)
    guard (1...PictureProcessor.longestSide).contains(side) else {
      throw invalid("\(key) is \(side), expected 1 to \(PictureProcessor.longestSide)")
    }
    return side
  }

  fileprivate func channels(_ key: String, default fallback: [Double]) throws -> [Double] {
    guard let value = value(key) else { return fallback }
    let numbers = value.arrayValue?.compactMap(\.doubleValue) ?? []
    guard numbers.count == 3, value.arrayValue?.count == 3, numbers.allSatisfy(\.isFinite) else {
      throw invalid("\(key) is \(value.compactText.prefix(60)), a list of three numbers is expected")
    }
    return numbers
  }
}
