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
  var lossRows: Int
  var expertRows: Int
  /// How many devices share each batch.
  var replicas: Int

  init(
    _ configuration: ModelConfiguration, table: ParameterTable, trained: ParameterTable, adapter: LoRAConfiguration?,
    _ settings: EngineSettings, lossRows: Int, expertRows: Int, replicas: Int
  ) {
    shape = configuration
    if let scaling = settings.rotaryScaling { shape.rotaryScaling = scaling }
    (self.table, self.trained, self.adapter) = (table, trained, adapter)
    precision = TensorElement(settings.precision)
    recomputes = settings.recomputesActivations
    (self.lossRows, self.expertRows, self.replicas) = (lossRows, expertRows, replicas)
  }

  /// What a training pass leaves out; nil for nothing.
  var dropout: AdapterDropout? { AdapterDropout(adapter, shape) }

  /// The weights that are not trained.
  var frozen: [ParameterEntry] { adapter == nil ? [] : table.entries }

  func type(ofFrozen entry: ParameterEntry) -> TensorType {
    TensorType(entry.role.keptInFloat32 ? .float32 : precision, entry.shape)
  }
}
