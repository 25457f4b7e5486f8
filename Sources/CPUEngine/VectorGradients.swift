import Machine
import Model

/// The gradients of all norms and biases, summed by each worker over its own rows, and then over the workers in order.
final class VectorGradients {
  private let buffer: AlignedBuffer
  private let countPerWorker: Int
  private let layerSize: Int
  private let workers: Int
  private let hiddenSize: Int
  private let headSize: Int
  /// Of the biases of queries, keys and values as one, and of attention's output; 0 without them.
  private let inputBiasSize: Int
  private let outputBiasSize: Int
  private let layerCount: Int

  init(_ shape: ModelConfiguration, workers: Int) throws(OutOfMemoryError) {
    hiddenSize = shape.hiddenSize
    headSize = shape.normalizesQueriesAndKeys ? shape.headSize : 0
    inputBiasSize = shape.attentionBias.isOnInputs ? shape.querySize + 2 * shape.keyValueSize : 0
    outputBiasSize = shape.attentionBias.isOnOutput ? shape.hiddenSize : 0
    layerSize = 2 * hiddenSize + 2 * headSize + inputBiasSize + outputBiasSize
    layerCount = shape.layerCount
    self.workers = workers
    let count = layerCount * layerSize + hiddenSize
    // Whole cache lines for each worker.
    countPerWorker = count.roundedUp(to: cacheLineFloats)
    buffer = try AlignedBuffer(byteCount: workers * countPerWorker * 4)
  }

  private func base(_ worker: Int) -> UnsafeMutablePointer<Float> {
    buffer.base.assumingMemoryBound(to: Float.self) + worker * countPerWorker
  }

  func zero(_ worker: Int) { base(worker).update(repeating: 0, count: countPerWorker) }

  private func layer(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> {
    base(worker) + layer * layerSize
  }

  // Where a worker adds up: as many numbers as the vector has.
  func attention(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> { self.layer(layer, worker) }
  func feedForward(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> {
    self.layer(layer, worker) + hiddenSize
  }
  func query(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> { self.layer(layer, worker) + 2 * hiddenSize }
  func key(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> { query(layer, worker) + headSize }
  /// Of queries, keys and values side by side.
  func inputBias(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> { key(layer, worker) + headSize }
  func outputBias(_ layer: Int, _ worker: Int) -> UnsafeMutablePointer<Float> {
    inputBias(layer, worker) + inputBiasSize
  }
  func output(_ worker: Int) -> UnsafeMutablePointer<Float> { layer(layerCount, worker) }

  /// Adds every worker's sums of a layer to the gradient block.
  func add(_ layer: Int, to gradients: UnsafeMutablePointer<Float>, at offset: VectorOffsets.Layer) {
    for worker in 0..<workers {
      add(attention(layer, worker), to: gradients + offset.attention, hiddenSize)
      add(feedForward(layer, worker), to: gradients + offset.feedForward, hiddenSize)
      if let query = offset.query { add(self.query(layer, worker), to: gradients + query, headSize) }
      if let key = offset.key { add(self.key(layer, worker), to: gradients + key, headSize) }
      for (columns, bias) in offset.inputBiases {
        add(inputBias(layer, worker) + columns.lowerBound, to: gradients + bias, columns.count)
      }
      if let bias = offset.outputBias { add(outputBias(layer, worker), to: gradients + bias, outputBiasSize) }
    }
  }

  /// The same of the norm after the layers, which lies at `gradient`.
  func addOutput(to gradient: UnsafeMutablePointer<Float>) {
    for worker in 0..<workers { add(output(worker), to: gradient, hiddenSize) }
  }

  private func add(_ sums: UnsafeMutablePointer<Float>, to gradient: UnsafeMutablePointer<Float>, _ count: Int) {
    for index in 0..<count { gradient[index] += sums[index] }
  }
}
