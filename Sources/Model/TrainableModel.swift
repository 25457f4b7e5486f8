/// What an engine is to train: all weights of a model, or an adapter beside weights that stay as they are.
///
/// The blocks are in the host's memory. An engine may compute in them or in copies; `TrainingEngine.copyWeights` makes them
/// current.
package enum TrainableModel {
  case whole(Parameters)
  /// - Parameter read: writes [count] fp32 values of a weight of the base to an address.
  case adapter(
    LoRAAdapter, baseTable: ParameterTable, read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void)

  package var configuration: ModelConfiguration {
    switch self {
    case .whole(let parameters): parameters.configuration
    case .adapter(let adapter, _, _): adapter.model
    }
  }

  /// What training changes.
  package var trained: ParameterBlock {
    switch self {
    case .whole(let parameters): parameters.block
    case .adapter(let adapter, _, _): adapter.block
    }
  }
}
