import Model
import Storage

/// How a version of MiniMind-V sees. Its checkpoints hold the language model and the projector; the tower has a directory of its
/// own, is never trained, and gives its last hidden state as `transformers` has it: CLIP's without the last norm, SigLIP's with it.
struct MiniMindSight {
  let towerKind: VisionTowerConfiguration.Kind
  let dropsClassToken: Bool
  let projector: ProjectorConfiguration.Kind
  /// Rows of a picture.
  let rowCount: Int
  let placeholderIDs: [Int]
  /// Whether a picture is stretched to the tower's square before the tower's own processor gets it.
  let stretches: Bool

  /// What the names of a projector's weights begin with.
  static let prefix = "vision_proj."

  /// The model's eyes, with a tower that is read from a directory.
  ///
  /// - Throws: `ModelFileError` for a tower that the version does not have.
  func configuration(
    _ tower: VisionTowerConfiguration, preprocessing: JSON?, _ version: MiniMindVersion, path: String
  ) throws(ModelFileError) -> SightConfiguration {
    var tower = tower
    tower.feature = .init(
      layer: tower.layerCount, isNormalized: towerKind == .siglip,
      dropsClassToken: dropsClassToken && tower.hasClassToken)
    var sight = SightConfiguration(
      tower: tower, projector: ProjectorConfiguration(kind: projector), placeholderIDs: placeholderIDs,
      preprocessing: preprocessing)
    if stretches { sight.preprocessing = sight.stretchingPreprocessing }
    try check(sight, version, path: path)
    return sight
  }

  /// Refuses what the version's code does not do. The number of rows is checked, since a projector fits the towers of one width,
  /// whatever their patches.
  func check(_ sight: SightConfiguration, _ version: MiniMindVersion, path: String) throws(ModelFileError) {
    func name(_ kind: VisionTowerConfiguration.Kind) -> String { kind == .clip ? "CLIP" : "SigLIP" }
    let tower = sight.tower
    let differences: [(isOther: Bool, text: String)] = [
      (tower.kind != towerKind, "a \(name(tower.kind)) tower, but one of \(name(towerKind))"),
      (
        tower.feature.layer != tower.layerCount || tower.feature.isNormalized != (towerKind == .siglip),
        "another state than the last one of its tower"
      ),
      (sight.projector.kind != projector, "a projector of another kind (\(sight.projector.kind.rawValue))"),
      (sight.projector.activation != .exact, "the activation \(sight.projector.activation.rawValue) in its projector"),
      (sight.projector.unshuffle != 1, "patches that become one row"),
      (
        sight.rowsPerPicture != rowCount || tower.feature.dropsClassToken != dropsClassToken,
        "\(sight.rowsPerPicture) rows of a picture, but \(rowCount)"
      ),
      (
        sight.placeholderIDs != placeholderIDs,
        "a picture's place at the tokens \(sight.placeholderIDs), but at \(placeholderIDs)"
      ),
    ]
    guard let difference = differences.first(where: \.isOther) else { return }
    throw .unsupported(path: path, feature: "the vision model of \(version.rawValue) has not \(difference.text)")
  }

  /// The name of a projector's weight.
  func name(of part: ProjectorPart) -> String {
    let (module, isBias): (Int, Bool) =
      switch part {
      case .norm: (0, false)
      case .normBias: (0, true)
      case .first: (projector == .normalizedMLP ? 1 : 0, false)
      case .firstBias: (projector == .normalizedMLP ? 1 : 0, true)
      case .second: (3, false)
      case .secondBias: (3, true)
      }
    let sequence = projector == .normalizedMLP ? "mlp" : "vision_proj"
    return "\(Self.prefix)\(sequence).\(module).\(isBias ? "bias" : "weight")"
  }
}

extension MiniMindVersion {
  var sight: MiniMindSight {
    switch self {
    // '<' 25 times, then '>'.
    case .v1:
      MiniMindSight(
        towerKind: .clip, dropsClassToken: false, projector: .linear, rowCount: 50, placeholderIDs: [30, 32],
        stretches: true)
    // '@'
    case .v2:
      MiniMindSight(
        towerKind: .clip, dropsClassToken: true, projector: .linear, rowCount: 196, placeholderIDs: [34],
        stretches: false)
    // <|image_pad|>
    case .v3:
      MiniMindSight(
        towerKind: .siglip, dropsClassToken: false, projector: .normalizedMLP, rowCount: 64, placeholderIDs: [12],
        stretches: false)
    }
  }
}

extension SightConfiguration {
  /// The settings of the pictures' processor, with bicubic stretching to the tower's square in place of keeping proportions and
  /// cutting.
  fileprivate var stretchingPreprocessing: JSON {
    guard case .object(let members) = huggingFacePreprocessing else { return huggingFacePreprocessing }
    let side = JSON.integer(tower.imageSize)
    let changed: [JSON.Member] = [
      .init("do_center_crop", .bool(false)), .init("do_resize", .bool(true)), .init("resample", .integer(3)),
      .init("size", .object([.init("height", side), .init("width", side)])),
    ]
    let others = members.filter { member in member.key != "crop_size" && !changed.contains { $0.key == member.key } }
    return .object((others + changed).sorted { $0.key < $1.key })
  }
}
