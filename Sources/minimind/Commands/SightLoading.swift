import CPUEngine
import Compute
import Corpus
import Generation
import Model
import ModelFiles
import Storage
import Vision

extension LoadedModel {
  /// The eyes of the model; nil for one that reads text only. They have threads of their own, as pictures are encoded while
  /// answers are written.
  ///
  /// - Throws: what reading the tower throws.
  func sight(_ invocation: Invocation) throws -> Sight? {
    guard let sight = model.configuration.sight else { return nil }
    let stored = try StoredModel(modelDirectory: directory)
    let encoder = try CPUPictureEncoder(
      stored.configuration, precision: invocation[GenerateOptions.type] == .float32 ? .float32 : .fastest,
      team: WorkerTeam(count: threadCount(invocation)), read: stored.read)
    return Sight(encoder, try PictureProcessor(sight, path: directory), placeholder: sight.placeholder)
  }

  /// - Throws: `CommandError` for a model that reads text only; as `sight`.
  func requireSight(_ invocation: Invocation) throws -> Sight {
    guard let sight = try sight(invocation) else {
      throw CommandError("\(directory) is a model of text alone: it has no vision tower. Choose one that sees.")
    }
    return sight
  }
}

extension Sight {
  /// The rows of a picture in a file.
  ///
  /// - Throws: `FileError`, or `CommandError` for a file that is no picture.
  func rows(ofFile path: String) throws -> [Float] {
    let file = try MappedFile.contents(of: path)
    do { return try rows(file) } catch { throw CommandError("\(path) \(error)") }
  }
}

/// What becomes of pictures for a model that sees.
///
/// - Parameters:
///   - path: of a run, a checkpoint or a model's directory.
///   - directory: where the files of pictures are; nil for beside the file that names them.
/// - Throws: `CommandError` for a model that reads text only; what reading its settings throws.
func pictureSettings(ofModel path: String, directory: String?) throws -> PictureSettings {
  let model = try resolveModelDirectory(path)
  guard let sight = try ModelConfiguration(modelDirectory: model).sight else {
    throw CommandError("\(model) is a model of text alone: it has no vision tower. Choose one that sees.")
  }
  return PictureSettings(
    processor: try PictureProcessor(sight, path: model), side: sight.tower.imageSize, placeholder: sight.placeholder,
    directory: directory)
}
