import Model
import Programs

/// What the programs of an engine are made from.
struct ProgramModel {
  var shape: ModelConfiguration
  /// All weights of the model.
  var table: ParameterTable
  /// What is trained: the model's weights, or those of an adapter.
  var trained: ParameterTable
  /// Nil where all of the model is trained.
  var adapter: LoRAConfiguration?
  /// What products take.
  var precision: TensorElement
  /// Whether a layer's values are computed again in the backward pass.
  var recomputes: Bool
  /// Rows of logits that are there at a time, and the most rows of a block of an expert.
  var lossRows = 2048
  var expertRows = 2048

  /// The weights that are not trained.
  var frozen: [ParameterEntry] { adapter == nil ? [] : table.entries }

  func type(ofFrozen entry: ParameterEntry) -> TensorType {
    TensorType(entry.role.keptInFloat32 ? .float32 : precision, entry.shape)
  }
}
