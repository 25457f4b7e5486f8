import Foundation
import Storage

/// The Hugging Face directory, or the file with a whole model in it, that a MODEL argument stands for.
///
/// - Parameter path: such a file or directory itself, that of an adapter whose settings name such a directory, a run directory
///   (its `model/`), or a checkpoint of a run (`RUN/checkpoints/step-N`, its `model/`; also `RUN/checkpoints/best` where
///   that is a file). What a writer that was killed has moved aside is found there.
/// - Throws: `ModelFileError.notAModel`.
public func resolveModelDirectory(_ path: String) throws(ModelFileError) -> String {
  let path = AtomicDirectory.readablePath(AtomicLink.followed(path))
  var isDirectory: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
    throw .notAModel(path: path, reason: "there is no such directory; check the path")
  }
  guard isDirectory.boolValue else {
    if ModelFormats.isContainer(file: path) { return path }
    throw .notAModel(
      path: path,
      reason: "it is a file, a directory with config.json and model.safetensors is expected, or a .gguf file")
  }
  for candidate in [path, AtomicDirectory.readablePath(path + "/model")]
  where FileManager.default.fileExists(atPath: candidate + "/config.json") || PEFTAdapter.isAdapter(candidate) {
    return candidate
  }
  throw .notAModel(
    path: path,
    reason: "neither it nor its subdirectory 'model' has a config.json or an \(PEFTConfiguration.fileName)")
}

/// The model in a directory or file; of an adapter, its base.
///
/// - Throws: `FileError` or `ModelFileError`.
package func modelContainer(_ directory: String) throws -> any ModelContainer {
  try ModelFormats.container(
    PEFTAdapter.isAdapter(directory) ? try PEFTAdapter(directory: directory).baseDirectory() : directory)
}
