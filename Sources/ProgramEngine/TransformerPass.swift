import Model
import Programs

/// What the layers of a pass share.
struct PassContext {
  let model: ProgramModel
  let weights: ModelWeights
  let batch: PassInputs
  let blocks: DocumentBlocks
  let rotary: RotaryEmbedding

  /// - Parameters:
  ///   - queries: [tokens, H, d].
  ///   - keys: [tokens, G, d]. `values` likewise.
  func attention(queries: Tensor, keys: Tensor, values: Tensor) -> any DocumentAttention {
    model.sizes.attention.of(queries: queries, keys: keys, values: values, in: blocks, model.precision)
  }
}

/// A model's way from the tokens of a batch to the end of the residual stream, and the gradient's way back.
struct TransformerPass {
  private let context: PassContext
  private let embedding: Embedding
  private let layers: [TransformerLayer]
  /// [tokens, hidden] what each layer reads.
  private let inputs: [Tensor]
  private let finalNorm: RMSNorm

  /// The rows whose losses are asked for, [loss rows, hidden] of `output`, and the way back of their gradient.
  var lossRows: Tensor { batch.lossRowNumbers.map { output.rows($0) } ?? output }
  func lossRowsBackward(_ dRows: Tensor) -> Tensor {
    batch.lossRowNumbers.map { output.filled(0).adding(dRows, toRows: $0) } ?? dRows
  }

  var weights: ModelWeights { context.weights }
  var batch: PassInputs { context.batch }
  /// [tokens, hidden] the end of the stream, normalised.
  var output: Tensor { finalNorm.output }

  /// Declares the inputs of the program: those of the model, of the batch, and the cosines and sines of its positions.
  ///
  /// - Parameter drops: whether the model's dropout leaves anything out, as it does in training.
  init(_ builder: ProgramBuilder, _ model: ProgramModel, _ pass: PassShape, drops: Bool) {
    let weights = ModelWeights(builder, model, droppedRows: drops ? pass.rows : nil)
    let batch = PassInputs(builder, pass, model.shape)
    let angles = TensorType(.float32, [pass.rows, model.shape.headSize / 2])
    context = PassContext(
      model: model, weights: weights, batch: batch,
      blocks: DocumentBlocks(
        documents: batch.documents, length: model.sizes.attentionBlock(longest: pass.blockLength),
        longest: pass.blockLength),
      rotary: RotaryEmbedding(
        cosines: builder.input("cosines", angles), sines: builder.input("sines", angles), rows: batch.rotaryRows))
    embedding = Embedding(tokens: batch.tokens, table: weights[.embedding], outside: batch.embedded)
    var (x, layers, inputs) = (embedding.output, [TransformerLayer](), [Tensor]())
    for number in 0..<model.shape.layerCount {
      inputs.append(x)
      layers.append(TransformerLayer(x, number, context))
      x = layers[number].output
    }
    (self.layers, self.inputs) = (layers, inputs)
    finalNorm = RMSNorm(x, weight: weights[.finalNorm], epsilon: Double(model.shape.rmsNormEpsilon))
  }

  /// Adds the gradients of all weights but the output matrix to `weights`.
  ///
  /// - Parameter dOutput: [tokens, hidden].
  func backward(_ dOutput: Tensor) {
    let dFinal = finalNorm.backward(dOutput)
    weights.add(dFinal.dWeight, .finalNorm)
    var dX = dFinal.dInput
    for number in layers.indices.reversed() {
      // Computed again, not before the gradient is there that needs it: Chen et al. 2016 (arXiv 1604.06174).
      let layer =
        context.model.recomputes ? TransformerLayer(inputs[number].after(dX), number, context) : layers[number]
      dX = layer.backward(dX)
    }
    weights.add(embedding.backward(dX), .embedding)
  }

  /// [1] Σ weight · balance over layers and documents, and [layers, experts] the choices; nil in a dense model.
  var expertUse: (balance: Tensor, choices: Tensor)? {
    let uses = layers.compactMap(\.expertUse)
    guard let first = uses.first else { return nil }
    return (
      balance: uses.dropFirst().reduce(first.balance) { $0 + $1.balance }.reshaped([1]),
      choices: .concatenated(uses.map(\.choices), 0)
    )
  }
}
