import Foundation
import Model
import Tokenization

/// A whole model as it lies on the disk, whatever its format: what commands run, train, convert and merge.
package protocol ModelContainer {
  /// The directory or file.
  var path: String { get }
  /// The files of the tokenizer, which may be none.
  var tokenizer: TokenizerFiles { get }

  /// - Parameter generation: how texts are to be written, of the model or of an adapter for it; what ends a text there
  ///   counts too.
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each naming the file.
  func configuration(_ generation: GenerationConfiguration) throws -> ModelConfiguration
  /// What it says of how to write texts.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each naming the file and the key.
  func generation() throws -> GenerationConfiguration
  /// - Throws: `FileError` or `ModelFileError`.
  func weights() throws -> StoredTensors
}

extension ModelFormats {
  /// The model at a path; for what is in no format of whole models, the Hugging Face directory that should be there.
  ///
  /// - Parameter path: a directory, not that of an adapter, or a file.
  /// - Throws: `FileError` or `ModelFileError` for a file that is damaged.
  package static func container(_ path: String) throws -> any ModelContainer {
    for format in all where format.tokenizer == .inside && format.isFormat(ofPath: path) {
      if let container = try format.container(path) { return container }
    }
    return HuggingFaceDirectory(path: path)
  }

  /// Whether there is a file at a path that holds a whole model, tokenizer included.
  static func isContainer(file path: String) -> Bool {
    all.contains { $0.tokenizer == .inside && $0.isFormat(ofPath: path) }
  }
}

extension TokenizerFiles {
  /// Those of the model or the adapter at a path, or of a directory of a tokenizer.
  ///
  /// - Throws: `FileError` or `ModelFileError` for a file that is damaged.
  package init(_ path: String) throws { self = try ModelFormats.container(path).tokenizer }

  /// The first of these models, adapters and directories that has a tokenizer; nil where none has.
  package static func firstPath(of paths: [String]) throws -> String? {
    try paths.first { try TokenizerFiles($0).hasTokenizer }
  }
}
