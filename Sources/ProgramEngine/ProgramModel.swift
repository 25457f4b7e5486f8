import Model
import Programs

/// What the programs of an engine are made from.
struct ProgramModel {
  var shape: ModelConfiguration
  /// All weights of the model.
  var table: ParameterTable
  /// What is trained: the model's weights, or those of an adapter.
  var trained: ParameterTable
  /// Which of the trained weights each process moves, and those of this one, in the order of their table.
  let partition: RankPartition
  let moved: [ParameterEntry]
  /// Nil where all of the model is trained.
  var adapter: LoRAConfiguration?
  /// What products take.
  var precision: TensorElement
  /// Whether a layer's values are computed again in the backward pass.
  var recomputes: Bool
  var sizes: ProgramSizes
  /// How many devices share each batch.
  var replicas: Int

  init(
    _ configuration: ModelConfiguration, table: ParameterTable, trained: ParameterTable, adapter: LoRAConfiguration?,
    _ settings: EngineSettings, _ sizes: ProgramSizes, replicas: Int
  ) {
    shape = configuration
    if let scaling = settings.rotaryScaling { shape.rotaryScaling = scaling }
    (self.table, self.trained, self.adapter) = (table, trained, adapter)
    let partition = RankPartition(trained, ranks: settings.ranks)
    self.partition = partition
    moved = trained.entries.filter { partition.rank(of: $0) == settings.rank }
    precision = TensorElement(settings.precision)
    recomputes = settings.recomputesActivations
    self.sizes = sizes
    self.replicas = replicas
  }

  /// What a training pass leaves out; nil for nothing.
  var dropout: AdapterDropout? { AdapterDropout(adapter, shape) }

  /// The weights that are not trained.
  var frozen: [ParameterEntry] { adapter == nil ? [] : table.entries }

  func type(ofFrozen entry: ParameterEntry) -> TensorType {
    TensorType(entry.role.keptInFloat32 ? .float32 : precision, entry.shape)
  }
}

/// How much of something programs compute at a time, and what of.
package struct ProgramSizes: Sendable {
  /// Rows of logits that are there at a time.
  package var lossRows: Int
  /// The most rows that pass an expert's products at a time.
  package var expertRows: Int
  /// The fewest rows of a block of attention. A block is an eighth of the longest document otherwise: smaller ones waste fewer
  /// scores, and copy keys and values oftener.
  package var attentionRows: Int
  package var attention: AttentionForm

  package init(
    lossRows: Int = 2048, expertRows: Int = 2048, attentionRows: Int = 64, attention: AttentionForm = .composed
  ) {
    (self.lossRows, self.expertRows, self.attentionRows) = (lossRows, expertRows, attentionRows)
    self.attention = attention
  }

  /// - Parameter longest: the power of two that holds the longest document.
  func attentionBlock(longest: Int) -> Int { max(longest / 8, min(longest, attentionRows)) }
}
