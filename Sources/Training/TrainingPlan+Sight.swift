import Corpus
import Model
import ModelFiles
import Vision

extension TrainingPlan {
  /// - Throws: `TrainingError` for pictures that the model does not see, or sees otherwise than they were prepared.
  static func check(
    _ pictures: DataManifest.Pictures?, _ data: String, _ configuration: ModelConfiguration, _ asked: TrainingSettings
  ) throws {
    guard let pictures else { return }
    guard let sight = configuration.sight else {
      throw TrainingError(
        "\(data) has pictures, and \(asked.modelName) is a model of text alone: it has no vision tower. Give it one by "
          + "--tower, choose a model that sees, or prepare the data without pictures.")
    }
    guard pictures.side == sight.tower.imageSize, pictures.placeholder == sight.placeholder else {
      throw TrainingError(
        "\(data) has pictures of \(pictures.side) × \(pictures.side) pixels and \(pictures.placeholder.count) tokens, and "
          + "\(asked.modelName) sees \(sight.tower.imageSize) × \(sight.tower.imageSize) in \(sight.rowsPerPicture), perhaps "
          + "with another placeholder. Prepare the data for this model.")
    }
    guard pictures.isNormalized(as: try PictureProcessor(sight, path: asked.modelName)) else {
      throw TrainingError(
        "the pictures of \(data) are normalised otherwise than \(asked.modelName) sees them. Prepare the data with --sight "
          + "\(asked.modelName).")
    }
  }

  /// - Parameters:
  ///   - tower: the model's.
  ///   - identity: what tells it from others; nil for random weights.
  /// - Throws: `TrainingError` for features of a tower that learns in this run, or that is not the model's.
  static func check(
    _ features: DataManifest.Features?, _ data: String, _ asked: TrainingSettings, _ learning: SightTraining,
    _ tower: VisionTowerConfiguration?, identity: () throws -> String?
  ) throws {
    guard let features else { return }
    guard !learning.trainsTower else {
      throw TrainingError(
        "\(data) has features of pictures in place of their pixels, and with --train \(learning.rawValue) the tower learns, "
          + "which needs the pixels. Give --train \(SightTraining.allButTower.rawValue), or prepare the data without "
          + "--picture-features.")
    }
    guard features.rows == tower?.featureRows, features.hiddenSize == tower?.hiddenSize,
      try identity() == features.tower
    else {
      throw TrainingError(
        "the features of pictures in \(data) are of another tower than that of \(asked.modelName). Prepare the data with "
          + "--sight \(asked.tower ?? asked.modelName).")
    }
  }
}
