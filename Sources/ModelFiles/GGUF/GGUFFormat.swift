import Foundation
import Model
import Storage
import Tokenization

/// llama.cpp's file, with a Modelfile for ollama beside it, and of a model that sees a second file with tower and projector.
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

  /// Norms and routers stay fp32, as llama.cpp's own converter has it, and so do a tower's patches and places.
  package func encodes(_ entry: ParameterEntry) -> Bool { Self.storesEncoded(entry) }

  static func storesEncoded(_ entry: ParameterEntry) -> Bool {
    entry.shape.count == 2 && entry.role != .router && entry.role != .tower(.position)
  }

  package func note(on model: StoredParameters, _ encoding: WeightEncoding) -> String? {
    let matrices = model.parameters.table.withoutSight.entries.filter(encodes)
    let others = matrices.filter { encoding.ggufType(columns: $0.shape[1]) != encoding.ggufType }
    var notes: [String] = []
    if !others.isEmpty {
      notes.append(
        "\(others.count) of \(matrices.count) matrices as q5_0: their rows are no multiples of "
          + "\(encoding.ggufType.blockSize)")
    }
    if let sight = model.parameters.configuration.sight {
      if encoding.ofSight != encoding { notes.append("tower and projector as \(encoding.ofSight.rawValue)") }
      if sight.hasOtherGELUInGGUF { notes.append("llama.cpp computes GELU by tanh, which differs by up to 5e-4") }
    }
    return notes.isEmpty ? nil : notes.joined(separator: "; ")
  }

  package func files(
    writtenTo path: String, _ configuration: ModelConfiguration
  ) -> [(name: String, path: String)] {
    [("written", path), ("for ollama", modelfile(of: path))]
      + (configuration.sight == nil ? [] : [("for pictures", GGUFSight.path(beside: path))])
  }

  private func modelfile(of path: String) -> String { (path as NSString).deletingPathExtension + ".Modelfile" }

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
      model: file,
      projector: configuration.sight.map { _ in (GGUFSight.path(beside: path) as NSString).lastPathComponent },
      isChat: tokenizer.hasMiniMindChat, stops: tokenizer.stops, contextLength: configuration.maximumSequenceLength,
      generation: try model.settingsDirectory.map { try GenerationConfiguration(modelDirectory: $0) }
        ?? GenerationConfiguration())
    let name = (file as NSString).deletingPathExtension
    let modelfile = try AtomicFile(self.modelfile(of: path))
    try modelfile.write(text)
    let projector = try configuration.sight.map { sight in
      try model.parameters.writeGGUFSight(
        sight, to: GGUFSight.path(beside: path), name: name, encoding: settings.encoding)
    }
    let companions = [modelfile, projector].compactMap(\.self)
    // What a conversion has left that was killed before the model was in place says the same and is replaced.
    for companion in companions where try companion.wouldChange() {
      throw FileError("\(companion.path) exists already and is not of this model. Choose another --to, or remove it.")
    }
    try model.parameters.saveGGUF(
      path, name: name, encoding: settings.encoding, tokenizer: tokenizer.metadata, companions: companions)
  }
}
