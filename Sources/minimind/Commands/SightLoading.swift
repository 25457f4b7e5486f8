import CPUEngine
import Compute
import Corpus
import Generation
import Model
import ModelFiles
import Storage
import Tokenization
import Training
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

/// What becomes of pictures for a model that sees, or for one that gets a tower.
///
/// - Parameters:
///   - path: of a run, a checkpoint or a model's directory; of a CLIP or SigLIP model for a language model that gets its tower.
///   - tokenizer: of the language model, and its `tokenizerDirectory`.
///   - features: the type in which what the tower makes of pictures is kept in place of them; nil for their pixels.
///   - directory: where the files of pictures are; nil for beside the file that names them.
///   - threads: of the tower.
/// - Throws: `CommandError` for a model that reads text only; what reading its settings and its tower throws.
func pictureSettings(
  ofModel path: String, _ tokenizer: Tokenizer, _ tokenizerDirectory: String, features type: ElementType?,
  directory: String?, threads: Int
) throws -> PictureSettings {
  let model = try resolveModelDirectory(path)
  let isTower = try StoredTower.isAlone(in: model)
  @Sendable func weights() throws -> (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void {
    if isTower { return try StoredTower(directory: model).read }
    return try StoredModel(modelDirectory: model).read
  }
  let sight: SightConfiguration
  let width: Int
  if isTower {
    let tower = try StoredTower(directory: model)
    sight = try NewSight.sight(
      tower.configuration, preprocessing: tower.preprocessing, tokenizer, of: tokenizerDirectory)
    width = tower.configuration.hiddenSize
  } else {
    let configuration = try ModelConfiguration(modelDirectory: model)
    guard let found = configuration.sight else {
      throw CommandError("\(model) is a model of text alone: it has no vision tower. Choose one that sees.")
    }
    (sight, width) = (found, configuration.hiddenSize)
  }
  var settings = PictureSettings(
    processor: try PictureProcessor(sight, path: model), side: sight.tower.imageSize, placeholder: sight.placeholder,
    directory: directory)
  if let type {
    let layout = DataManifest.Features(
      rows: sight.tower.featureRows, hiddenSize: sight.tower.hiddenSize, type: type,
      tower: try sight.tower.identity(read: weights()))
    settings.features = PictureFeatures(layout) {
      let read = try weights()
      let encoder = try CPUPictureEncoder(
        sight, width: width, precision: type, team: WorkerTeam(count: threads)
      ) { entry, target in
        // The tower's rows are wanted, and not what a projector makes of them.
        if case .tower = entry.role { try read(entry, target) } else { target.update(repeating: 0, count: entry.count) }
      }
      return encoder.features
    }
  }
  return settings
}
