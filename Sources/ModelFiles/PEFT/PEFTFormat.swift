import Model

/// An adapter as the `peft` package keeps it. It is read as its base with the adapter merged; `lora` writes it.
package struct PEFTFormat: ModelFormat {
  package let name = "peft"
  package let title = "PEFT's LoRA adapter"
  package let ending: String? = nil
  package let encodings: [WeightEncoding] = []
  package let tokenizer = TokenizerPlace.beside

  package init() {}

  package func isFormat(ofPath path: String) -> Bool {
    (try? resolveModelDirectory(path)).map(PEFTAdapter.isAdapter) ?? false
  }

  package func encodes(_ entry: ParameterEntry) -> Bool { false }

  package func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters {
    let directory = try resolveModelDirectory(path)
    var result = try StoredParameters(StoredModel(modelDirectory: directory), tokenizerOf: path)
    result.adapterDirectory = directory
    return result
  }

  package func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws {
    throw ModelFileError.unsupported(path: path, feature: "a whole model cannot be written as an adapter")
  }
}
