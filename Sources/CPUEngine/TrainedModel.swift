import Model

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
}
