import Model
import Programs

/// The weights of a model as inputs of a program, by their roles, and the gradients that its backward pass finds.
final class ModelWeights {
  let shape: ModelConfiguration
  private let table, trained: ParameterTable
  private let adapter: LoRAConfiguration?
  /// What adapters leave out of their inputs, in training.
  private let dropout: (AdapterDropout, keys: Tensor)?
  private var values: [String: Tensor] = [:]
  private var gradients: [String: Tensor] = [:]

  /// Declares the inputs: the keys of dropout, the trained weights in the order of their table, then, under an adapter, the
  /// model's.
  ///
  /// - Parameter droppedRows: rows of a pass that leaves out what dropout says; nil for one that leaves out nothing.
  init(_ builder: ProgramBuilder, _ model: ProgramModel, droppedRows: Int?) {
    shape = model.shape
    (table, trained, adapter) = (model.table, model.trained, model.adapter)
    dropout = droppedRows.flatMap { rows in
      model.dropout.map { ($0, keys: builder.input("dropout keys", $0.type(rows: rows))) }
    }
    for entry in trained.entries { values[entry.key] = builder.input(entry.key, TensorType(.float32, entry.shape)) }
    for entry in model.frozen { values[entry.key] = builder.input(entry.key, model.type(ofFrozen: entry)) }
  }

  // MARK: - Weights by role

  /// - Precondition: the model has such a weight.
  subscript(role: ParameterRole, layer: Int? = nil) -> Tensor { values[entry(role, layer).key]! }

  private func entry(_ role: ParameterRole, _ layer: Int?) -> ParameterEntry {
    guard let entry = table.entry(role, layer: layer) else {
      preconditionFailure("the model has no \(role) in layer \(layer.map(String.init) ?? "none")")
    }
    return entry
  }

  /// The role of the matrix that makes logits.
  var outputRole: ParameterRole { shape.tiesEmbeddings ? .embedding : .output }

  /// A linear layer, with the bias and the adapter that it has.
  func linear(_ role: ParameterRole, bias: ParameterRole? = nil, _ layer: Int) -> LinearWeight {
    let key = entry(role, layer).key
    var weight = LinearWeight(matrix: values[key]!, bias: bias.flatMap { biasKey($0, layer) }.map { values[$0]! })
    if let adapter, let a = values[LoRAKey.a(key)], let b = values[LoRAKey.b(key)] {
      weight.adapter = LowRankProduct.Weight(
        a: a, b: b, scale: Double(adapter.scale), dropout: dropout(ofAdapter: LoRAKey.a(key), layer))
    }
    return weight
  }

  private func dropout(ofAdapter key: String, _ layer: Int) -> Dropout? {
    guard let dropout, case .loraA(let target, let block) = trained.entry(key)!.role else { return nil }
    return dropout.0.dropout(layer, LoRAPlace(site: target.site, block: block), dropout.keys)
  }

  private func biasKey(_ role: ParameterRole, _ layer: Int) -> String? { table.entry(role, layer: layer)?.key }

  func feedForward(_ block: FeedForwardBlock, _ layer: Int) -> FeedForward.Parts<LinearWeight> {
    FeedForward.Parts<ParameterRole>(gate: .gate(block), up: .up(block), down: .down(block)).map { linear($0, layer) }
  }

  // MARK: - Gradients

  /// Adds to the gradient of a weight. That of one which is not trained is never read, and so is no part of the program.
  func add(_ gradient: Tensor, _ role: ParameterRole, _ layer: Int? = nil) { add(gradient, entry(role, layer).key) }

  func add(_ gradient: LinearGradient, _ role: ParameterRole, bias: ParameterRole? = nil, _ layer: Int) {
    let key = entry(role, layer).key
    add(gradient.matrix, key)
    if let bias = bias.flatMap({ biasKey($0, layer) }) { add(gradient.bias, bias) }
    if let a = gradient.a, let b = gradient.b {
      add(a, LoRAKey.a(key))
      add(b, LoRAKey.b(key))
    }
  }

  func add(_ gradients: FeedForward.Parts<LinearGradient>, _ block: FeedForwardBlock, _ layer: Int) {
    add(gradients.gate, .gate(block), layer)
    add(gradients.up, .up(block), layer)
    add(gradients.down, .down(block), layer)
  }

  private func add(_ gradient: Tensor, _ key: String) {
    let gradient = gradient.reshaped(values[key]!.shape)
    gradients[key] = gradients[key].map { $0 + gradient } ?? gradient
  }

  /// The gradients of the trained weights, in the order of their table.
  var trainedGradients: [Tensor] { trained.entries.map { gradients[$0.key]! } }
}
