import Foundation
import Model
import Storage
import Tokenization

/// llama.cpp's file, with a Modelfile for ollama beside it.
package struct GGUFFormat: ModelFormat {
  package let name = "gguf"
  package let title = "GGUF"
  package let ending: String? = ".gguf"
  package let encodings: [WeightEncoding] = [.float32, .float16, .bfloat16, .q8, .q4, .q4K]
  package let tokenizer = TokenizerPlace.inside

  package init() {}

  /// By its name, or, as in the caches of other programs, by how it begins.
  package func isFormat(ofPath path: String) -> Bool {
    guard isFile(path), !path.hasSuffix(".gguf") else { return isFile(path) }
    guard let file = try? MappedFile(path) else { return false }
    return withExtendedLifetime(file) { file.bytes.starts(with: GGUFFile.magic) }
  }

  package func container(_ path: String) throws -> (any ModelContainer)? { try GGUFModel(path: path) }

  package func check(
    _ configuration: ModelConfiguration, tokenizer: (read: Tokenizer, path: String)?, holdsAdapter: Bool, path: String
  ) throws {
    try configuration.checkGGUF(path: path)
    _ = try configuration.ggufRotaryScaling(path: path)
    if let tokenizer { _ = try GGUFTokenizer(tokenizer.read, at: tokenizer.path, of: configuration) }
  }

  /// Norms and routers stay fp32, as llama.cpp's own converter has it.
  package func encodes(_ entry: ParameterEntry) -> Bool { entry.shape.count == 2 && entry.role != .router }

  package func note(on model: StoredParameters, _ encoding: WeightEncoding) -> String? {
    let matrices = model.parameters.table.entries.filter(encodes)
    let others = matrices.filter { encoding.ggufType(columns: $0.shape[1]) != encoding.ggufType }
    guard !others.isEmpty else { return nil }
    return "\(others.count) of \(matrices.count) matrices as q5_0: their rows are no multiples of "
      + "\(encoding.ggufType.blockSize)"
  }

  package func files(writtenTo path: String) -> [(name: String, path: String)] {
    [("written", path), ("for ollama", (path as NSString).deletingPathExtension + ".Modelfile")]
  }

  package func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters {
    try StoredParameters(StoredModel(modelDirectory: path), tokenizerOf: path)
  }

  /// - Precondition: the settings name a tokenizer.
  package func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws {
    guard let tokenizerDirectory = settings.tokenizerDirectory else {
      preconditionFailure("a GGUF file without a tokenizer")
    }
    let configuration = model.parameters.configuration
    let tokenizer = try GGUFTokenizer(path: tokenizerDirectory, of: configuration)
    let file = (path as NSString).lastPathComponent
    let text = OllamaModelfile.text(
      model: file, isChat: tokenizer.hasMiniMindChat, stops: tokenizer.stops,
      contextLength: configuration.maximumSequenceLength,
      generation: try model.settingsDirectory.map { try GenerationConfiguration(modelDirectory: $0) }
        ?? GenerationConfiguration())
    let modelfile = try begin(text, at: files(writtenTo: path)[1].path)
    try model.parameters.saveGGUF(
      path, name: (file as NSString).deletingPathExtension, encoding: settings.encoding,
      tokenizer: tokenizer.metadata, companion: modelfile)
  }

  /// The Modelfile, written and not yet in place. One that a conversion has left which was killed before the model was in
  /// place says the same and is replaced.
  private func begin(_ text: String, at path: String) throws -> AtomicFile {
    if FileManager.default.fileExists(atPath: path), try MappedFile.contents(of: path) != Array(text.utf8) {
      throw FileError("\(path) exists already and is not of this model. Choose another --to, or remove it.")
    }
    let file = try AtomicFile(path)
    try file.write(text)
    return file
  }
}
