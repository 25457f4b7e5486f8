import Model
import ModelFiles
import Storage
import Tokenization

/// The tower and the new projector of a model that learns to see in a run.
package struct NewSight {
  /// The value of `--tower` for a tower with random weights.
  static let newTower = "new"
  /// Tokens by which tokenizers mark pictures.
  private static let placeholders = ["<|image_pad|>", "<image>"]

  let configuration: SightConfiguration
  /// Nil for random weights.
  private let stored: StoredTower?
  /// What tells the tower from others; nil for random weights.
  let towerIdentity: String?

  /// - Parameters:
  ///   - model: which does not see yet.
  ///   - tokenizer: of the model.
  /// - Returns: nil where no tower is asked for.
  /// - Throws: `TrainingError` for a model that sees, or a tokenizer without a placeholder; what reading the tower throws.
  init?(_ asked: TrainingSettings, model: ModelConfiguration, _ tokenizer: Tokenizer) throws {
    guard let tower = asked.tower else { return nil }
    guard model.sight == nil else {
      throw TrainingError("\(asked.modelName) has a vision tower already. Leave out --tower.")
    }
    stored = tower == Self.newTower ? nil : try StoredTower(directory: tower)
    configuration = try Self.sight(
      stored?.configuration, preprocessing: stored?.preprocessing, tokenizer, of: asked.modelName)
    towerIdentity = try stored.map { [tower = configuration.tower] in try tower.identity(read: $0.read) }
    try configuration.validate(source: "--tower \(tower)", vocabularySize: model.vocabularySize)
  }

  /// How a language model sees with a tower that it gets, and a projector that is new.
  ///
  /// - Parameters:
  ///   - tower: its shape; nil for a small new one.
  ///   - preprocessing: what is in its `preprocessor_config.json`.
  ///   - name: of the model or directory that the tokenizer belongs to, for messages.
  /// - Throws: `TrainingError` for a tokenizer without a placeholder.
  package static func sight(
    _ tower: VisionTowerConfiguration?, preprocessing: JSON?, _ tokenizer: Tokenizer, of name: String
  ) throws(TrainingError) -> SightConfiguration {
    let placeholder = placeholders.lazy.compactMap { text -> Int? in
      guard let ids = try? tokenizer.encode(text), ids.count == 1, tokenizer.isSpecial(ids[0]) else { return nil }
      return Int(ids[0])
    }.first
    guard let placeholder else {
      throw TrainingError(
        "the tokenizer of \(name) has no token that stands for a picture (\(placeholders.joined(separator: " or "))). Train "
          + "it with one that has: minimind tokenizer train --template minimind-3")
    }
    var (shape, projector) = (tower ?? small, smallProjector)
    if let tower {
      // LLaVA's choice: the layer before the last, without a class token.
      shape.feature = .init(layer: tower.layerCount - 1, isNormalized: false, dropsClassToken: tower.hasClassToken)
      projector = ProjectorConfiguration(kind: .mlp)
    }
    return SightConfiguration(
      tower: shape, projector: projector, placeholderIDs: [placeholder], preprocessing: preprocessing)
  }

  /// A tower for pictures of 64 × 64 pixels in 64 patches.
  private static let small = VisionTowerConfiguration(
    kind: .siglip, hiddenSize: 192, intermediateSize: 768, layerCount: 4, headCount: 6, imageSize: 64, patchSize: 8,
    feature: .init(layer: 4, isNormalized: true, dropsClassToken: false))
  /// MiniMind-V's of 2026, of squares of four patches, so that a picture takes 16 tokens.
  private static let smallProjector = ProjectorConfiguration(kind: .normalizedMLP, unshuffle: 2)

  /// Reads the tower's weights, if they are not random.
  ///
  /// - Throws: `ModelFileError`.
  func readTower(into parameters: Parameters) throws {
    guard let stored else { return }
    for entry in parameters.table.entries {
      if case .tower = entry.role { try stored.read(entry, parameters.values + entry.offset) }
    }
  }

  /// The hash of what a run begins with: of the language model, and of a tower that is read.
  fileprivate func startHash(_ model: String?) -> String? {
    let parts = [model, towerIdentity].compactMap { $0 }
    return parts.isEmpty ? nil : parts.joined(separator: "+")
  }
}

extension NewSight? {
  /// The hash of what a run begins with; nil for random weights.
  ///
  /// - Parameter model: that of the language model, if it is read.
  func startHash(_ model: String?) -> String? { map { $0.startHash(model) } ?? model }
}

extension TrainingSettings {
  /// - Throws: `TrainingError` where a model that sees, or one that does not, does not go with the stage or its options.
  func checkSight(of model: ModelConfiguration, _ stage: Stage) throws(TrainingError) {
    guard model.sight != nil else {
      guard self.train == nil else {
        throw TrainingError(
          "--train says what of a model that sees is trained. "
            + (stage.givesSight ? "Give it a tower by --tower, or leave it out." : "Leave it out."))
      }
      return
    }
    guard stage.trainsSight else {
      throw TrainingError(
        "\(modelName) sees, and minimind \(stage.name) trains models of text alone. Use minimind sft, lora, dpo or kto, or "
          + "choose another --from.")
    }
    if hasAdapter(in: stage) {
      guard self.tower == nil else {
        throw TrainingError(
          "--tower gives the model a new projector, which has to learn, and below an adapter it would stay as it is. "
            + "Train the projector first: minimind pretrain --tower")
      }
      guard self.train == nil else {
        throw TrainingError(
          "--train says which weights of a model are trained, and an adapter is trained in place of all of them. "
            + "Leave it or --lora-rank out.")
      }
    }
    guard self.teacher == nil else {
      throw TrainingError("a model that sees does not learn from a teacher. Leave out --teacher.")
    }
  }
}
