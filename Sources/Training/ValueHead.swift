import Foundation
import Model
import ModelFiles
import Processes

/// The vector whose product with a row's hidden state is the value of the text up to there, with its own moments: what a run that
/// learns values trains beside its model.
package final class ValueHead {
  /// In a checkpoint's directory.
  static let fileName = "value-head.safetensors"
  private static let key = "value_head.weight"

  /// [hiddenSize]
  package private(set) var weights: [Float]
  private var firstMoments: [Float]
  private var secondMoments: [Float]
  /// [hiddenSize] of the step's loss, not yet its mean.
  package private(set) var gradient: [Double]

  /// - Parameter weights: [hiddenSize].
  package init(_ weights: [Float]) {
    self.weights = weights
    firstMoments = [Float](repeating: 0, count: weights.count)
    secondMoments = firstMoments
    gradient = [Double](repeating: 0, count: weights.count)
  }

  /// One that gives the value 0 to everything.
  convenience init(width: Int) { self.init([Float](repeating: 0, count: width)) }

  var areFinite: Bool { weights.allSatisfy(\.isFinite) }

  // MARK: - A step

  func zeroGradient() { gradient = [Double](repeating: 0, count: gradient.count) }

  func addGradient(_ more: [Float]) {
    for index in gradient.indices { gradient[index] += Double(more[index]) }
  }

  /// Adds up what the processes of a run have found, each of which then makes the same step.
  func sumGradient(over exchange: ProcessExchange) {
    if !exchange.isAlone { gradient = exchange.sum(gradient) }
  }

  /// Σ square of the gradient.
  var gradientSquare: Double { gradient.reduce(0) { $0 + $1 * $1 } }

  /// A step of AdamW.
  func step(_ step: OptimizerStep) {
    let adamW = step.adamW
    let correction = 1 - pow(adamW.beta1, Double(step.number))
    let secondCorrection = 1 - pow(adamW.beta2, Double(step.number))
    for index in weights.indices {
      let g = gradient[index] * step.gradientScale
      let m = adamW.beta1 * Double(firstMoments[index]) + (1 - adamW.beta1) * g
      let v = adamW.beta2 * Double(secondMoments[index]) + (1 - adamW.beta2) * g * g
      let change = m / correction / ((v / secondCorrection).squareRoot() + adamW.epsilon)
      weights[index] = Float(
        Double(weights[index]) * (1 - adamW.learningRate * adamW.weightDecay) - adamW.learningRate * change)
      (firstMoments[index], secondMoments[index]) = (Float(m), Float(v))
    }
  }

  // MARK: - On the disk

  /// Writes `fileName` into a directory: [1, hiddenSize] the weights and both moments, fp32.
  func save(to directory: String) throws {
    let parts = [weights, firstMoments, secondMoments]
    let writer = try SafetensorsWriter(
      directory + "/" + Self.fileName,
      tensors: Self.names.map { .init(name: $0, type: .float32, shape: [1, weights.count]) })
    for part in parts { try part.withUnsafeBufferPointer { try writer.append($0) } }
    try writer.commit()
  }

  /// - Throws: `FileError`, `ModelFileError` or `TrainingError`, each naming the file.
  func load(from directory: String) throws {
    let file = try SafetensorsFile(directory + "/" + Self.fileName)
    let parts = try Self.names.map { name in
      guard let tensor = file.tensor(name), tensor.shape == [1, weights.count], tensor.type == .float32 else {
        throw Checkpoint.damaged(file.path, "it has no '\(name)' of the shape [1, \(weights.count)]")
      }
      let numbers = try file.floats(of: tensor)
      guard numbers.allSatisfy(\.isFinite) else {
        throw Checkpoint.damaged(file.path, "it holds values that are not finite numbers")
      }
      return numbers
    }
    (weights, firstMoments, secondMoments) = (parts[0], parts[1], parts[2])
  }

  private static let names = [key, key + ".first_moment", key + ".second_moment"]
}
