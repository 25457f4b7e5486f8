import ModelFiles

/// A model in training: all its weights are trained, or an adapter on weights that stay as they are.
package enum TrainedModel {
  case whole(Parameters)
  case adapter(LoRAAdapter, on: FrozenWeights)

  package var configuration: ModelConfiguration {
    switch self {
    case .whole(let parameters): parameters.configuration
    case .adapter(let adapter, _): adapter.model
    }
  }

  /// What training changes.
  package var trained: ParameterBlock {
    switch self {
    case .whole(let parameters): parameters.block
    case .adapter(let adapter, _): adapter.block
    }
  }

  /// The model's weights, those that training does not change included.
  package var table: ParameterTable {
    switch self {
    case .whole(let parameters): parameters.table
    case .adapter(_, let base): base.table
    }
  }

  /// Writes the fp32 values of a weight as it is now, an adapter merged into it, to an address.
  package func copy(_ entry: ParameterEntry, to target: UnsafeMutablePointer<Float>) {
    switch self {
    case .whole(let parameters): target.update(from: parameters.values + entry.offset, count: entry.count)
    case .adapter(let adapter, let base):
      base.copy(entry, to: target)
      adapter.merge(into: entry.key, target)
    }
  }

  /// Writes the directory of the model, or of the adapter, which appears whole or not at all.
  ///
  /// - Parameter tokenizerDirectory: where the tokenizer's files are copied from; without it the directory has none.
  /// - Throws: `FileError` when the disk or the permissions do not allow it.
  package func save(modelDirectory: String, tokenizerDirectory: String?) throws {
    switch self {
    case .whole(let parameters):
      try parameters.save(modelDirectory: modelDirectory, tokenizerDirectory: tokenizerDirectory)
    case .adapter(let adapter, _): try adapter.save(directory: modelDirectory, tokenizerDirectory: tokenizerDirectory)
    }
  }
}
