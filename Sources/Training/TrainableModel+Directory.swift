import Model
import ModelFiles

extension TrainableModel {
  /// Writes the directory of the model, or of the adapter, which appears whole or not at all.
  ///
  /// - Parameter tokenizerDirectory: where the tokenizer's files are copied from; without it the directory has none.
  /// - Throws: `FileError` when the disk or the permissions do not allow it.
  package func save(modelDirectory: String, tokenizerDirectory: String?) throws {
    switch self {
    case .whole(let parameters):
      try parameters.save(modelDirectory: modelDirectory, tokenizerDirectory: tokenizerDirectory)
    case .adapter(let adapter, _, _):
      try adapter.save(directory: modelDirectory, tokenizerDirectory: tokenizerDirectory)
    }
  }
}
