import Model
import Reference
import TestSupport
import Testing

/// The plain twins against central differences of their own forward passes, in Double.
///
/// The error of a central difference is of order step² = 1e-8 times the third derivative; 1e-7 leaves room for curved
/// functions, and a wrong or missing term of a derivative is far above it.
@Suite("Plain kernels")
struct ReferenceKernelTests {
  static let largestDistance = 1e-7

  private func random(_ count: Int, seed: UInt64) -> [Double] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Double.random(in: -1.5...1.5, using: &generator) }
  }

  private func expectGradient(
    _ gradient: [Double], at point: [Double], _ name: String, sourceLocation: SourceLocation = #_sourceLocation,
    loss: ([Double]) -> Double
  ) {
    let distance = distanceFromDifferences(gradient, at: point, loss: loss)
    #expect(distance <= Self.largestDistance, "\(name)", sourceLocation: sourceLocation)
  }

  @Test("RMSNorm's gradients are those of its forward pass", arguments: [1, 3, 7, 17])
  func rmsNorm(width: Int) {
    let input = random(3 * width, seed: 1)
    let weight = random(width, seed: 2)
    let dOutput = random(3 * width, seed: 3)
    // A large epsilon, so that a gradient that forgets it is seen, in one column above all.
    func loss(_ input: [Double], _ weight: [Double]) -> Double {
      dot(Reference.rmsNormForward(input: input, weight: weight, epsilon: 0.1).output, dOutput)
    }
    let reciprocals = Reference.rmsNormForward(input: input, weight: weight, epsilon: 0.1).reciprocalRootMeanSquare
    let gradients = Reference.rmsNormBackward(
      dOutput: dOutput, input: input, weight: weight, reciprocalRootMeanSquare: reciprocals)
    expectGradient(gradients.dInput, at: input, "dInput") { loss($0, weight) }
    expectGradient(gradients.dWeight, at: weight, "dWeight") { loss(input, $0) }
  }

  @Test("the rotary gradient is the turn back", arguments: [2, 6, 16])
  func rotary(headSize: Int) {
    let width = 3 * headSize
    let positions = [0, 1, 5, 100]
    let heads = random(positions.count * width, seed: 4)
    let dOutput = random(heads.count, seed: 5)
    func turn(_ heads: [Double], _ direction: Double) -> [Double] {
      Reference.rotary(
        heads, width: width, headSize: headSize, positions: positions, theta: 10_000, direction: direction)
    }
    expectGradient(turn(dOutput, -1), at: heads, "heads") { dot(turn($0, 1), dOutput) }
  }

  @Test("attention's gradients are those of its forward pass", arguments: [(4, 2), (3, 3), (2, 1)])
  func attention(headCount: Int, keyValueHeadCount: Int) {
    let shape = Reference.AttentionShape(
      headCount: headCount, keyValueHeadCount: keyValueHeadCount, headSize: 3, documentOffsets: [0, 4, 5, 8])
    let fused = random(shape.tokenCount * shape.fusedWidth, seed: 6)
    let dOutput = random(shape.tokenCount * shape.outputWidth, seed: 7)
    let gradient = Reference.attentionBackward(dOutput: dOutput, queriesKeysValues: fused, shape)
    expectGradient(gradient, at: fused, "queries, keys and values") {
      dot(Reference.attentionForward(queriesKeysValues: $0, shape), dOutput)
    }
  }

  @Test("without a mask, too")
  func attentionWithoutMask() {
    let shape = Reference.AttentionShape(
      headCount: 2, keyValueHeadCount: 2, headSize: 3, documentOffsets: [0, 4, 5, 8], isCausal: false)
    let fused = random(shape.tokenCount * shape.fusedWidth, seed: 26)
    let dOutput = random(shape.tokenCount * shape.outputWidth, seed: 27)
    let gradient = Reference.attentionBackward(dOutput: dOutput, queriesKeysValues: fused, shape)
    expectGradient(gradient, at: fused, "queries, keys and values") {
      dot(Reference.attentionForward(queriesKeysValues: $0, shape), dOutput)
    }
  }

  @Test("LayerNorm's gradients are those of its forward pass", arguments: [2, 3, 7, 17])
  func layerNorm(width: Int) {
    let input = random(3 * width, seed: 20)
    let (weight, bias) = (random(width, seed: 21), random(width, seed: 22))
    let dOutput = random(3 * width, seed: 23)
    func loss(_ input: [Double], _ weight: [Double], _ bias: [Double]) -> Double {
      dot(Reference.layerNormForward(input: input, weight: weight, bias: bias, epsilon: 0.1).output, dOutput)
    }
    let forward = Reference.layerNormForward(input: input, weight: weight, bias: bias, epsilon: 0.1)
    let gradients = Reference.layerNormBackward(
      dOutput: dOutput, input: input, weight: weight, means: forward.means, reciprocals: forward.reciprocals)
    expectGradient(gradients.dInput, at: input, "dInput") { loss($0, weight, bias) }
    expectGradient(gradients.dWeight, at: weight, "dWeight") { loss(input, $0, bias) }
    expectGradient(gradients.dBias, at: bias, "dBias") { loss(input, weight, $0) }
  }

  @Test("GELU's gradients are those of its forward pass", arguments: GELU.allCases)
  func gelu(kind: GELU) {
    let input = random(20, seed: 24) + [-6, -3.1, 3.1, 6]
    let dOutput = random(24, seed: 25)
    expectGradient(Reference.geluBackward(kind, input: input, dOutput: dOutput), at: input, kind.rawValue) {
      dot(Reference.geluForward(kind, input: $0), dOutput)
    }
  }

  @Test("SwiGLU's gradients are those of its forward pass", arguments: [1, 3, 17])
  func swiGLU(hidden: Int) {
    let gateUp = random(2 * 2 * hidden, seed: 8)
    let dOutput = random(2 * hidden, seed: 9)
    let gradient = Reference.swiGLUBackward(gateUp: gateUp, dOutput: dOutput, hidden: hidden)
    expectGradient(gradient, at: gateUp, "gates and ups") {
      dot(Reference.swiGLUForward(gateUp: $0, hidden: hidden), dOutput)
    }
  }

  @Test("the router's gradient is that of its weights and of the balance", arguments: [(4, 2), (3, 3), (1, 1), (6, 1)])
  func router(expertCount: Int, expertsPerToken: Int) {
    let width = 5
    let input = random(4 * width, seed: 16)
    let router = random(expertCount * width, seed: 17)
    let dWeights = random(4 * expertsPerToken, seed: 18)
    let documents = [0..<3, 3..<4]
    func routing(_ input: [Double], _ router: [Double]) -> Reference.Routing<Double> {
      Reference.routerForward(
        input: input, router: router, expertCount: expertCount, expertsPerToken: expertsPerToken, width: width)
    }
    func loss(_ input: [Double], _ router: [Double]) -> Double {
      let routing = routing(input, router)
      let balance = documents.reduce(0) {
        $0 + Reference.expertBalance(routing, tokens: $1, expertCount: expertCount)
      }
      return dot(routing.weights.flatMap { $0 }, dWeights) + balance
    }
    let forward = routing(input, router)
    let dLogits = Reference.routerBackward(
      forward, dWeights: (0..<4).map { Array(dWeights[$0 * expertsPerToken..<($0 + 1) * expertsPerToken]) },
      dProbabilities: documents.flatMap {
        Reference.expertBalanceBackward(forward, tokens: $0, expertCount: expertCount)
      })
    let dInput = Reference.multiply(dLogits, router, rows: 4, inner: expertCount, columns: width)
    let dRouter = Reference.multiply(
      dLogits, aTransposed: true, input, rows: expertCount, inner: 4, columns: width)
    // With one expert everything is constant.
    guard expertCount > 1 else {
      #expect(dInput.allSatisfy { $0 == 0 })
      return
    }
    expectGradient(dInput, at: input, "input") { loss($0, router) }
    expectGradient(dRouter, at: router, "router") { loss(input, $0) }
  }

  @Test("the cross-entropy's gradient is that of its losses", arguments: [2, 3, 17])
  func crossEntropy(vocabulary: Int) {
    let logits = random(3 * vocabulary, seed: 10)
    let targets = [0, vocabulary - 1, 1]
    let lossWeights = [1.0, 0.5, 0]
    func run(_ logits: [Double]) -> (losses: [Double], dLogits: [Double]) {
      Reference.softmaxCrossEntropy(
        logits: logits, targets: targets, lossWeights: lossWeights, gradientScale: 0.25, vocabulary: vocabulary)
    }
    expectGradient(run(logits).dLogits, at: logits, "logits") { 0.25 * dot(run($0).losses, lossWeights) }
  }

  @Test("the embedding's gradient adds up the rows of a repeated token")
  func embedding() {
    let width = 5
    let tokens = [3, 0, 3, 2]
    let table = random(4 * width, seed: 11)
    let dOutput = random(tokens.count * width, seed: 12)
    let gradient = Reference.embeddingBackward(tokens: tokens, dOutput: dOutput, vocabulary: 4, width: width)
    expectGradient(gradient, at: table, "table") {
      dot(Reference.embeddingForward(tokens: tokens, table: $0, width: width), dOutput)
    }
  }

  @Test("the products' gradients are products")
  func product() {
    let (rows, inner, columns) = (3, 4, 5)
    let input = random(rows * inner, seed: 13)
    let weight = random(columns * inner, seed: 14)
    let dOutput = random(rows * columns, seed: 15)
    func loss(_ input: [Double], _ weight: [Double]) -> Double {
      dot(Reference.multiply(input, weight, bTransposed: true, rows: rows, inner: inner, columns: columns), dOutput)
    }
    expectGradient(
      Reference.multiply(dOutput, weight, rows: rows, inner: columns, columns: inner), at: input, "x̄ = ȳ·W"
    ) { loss($0, weight) }
    expectGradient(
      Reference.multiply(dOutput, aTransposed: true, input, rows: columns, inner: rows, columns: inner), at: weight,
      "W̄ = ȳᵀ·x"
    ) { loss(input, $0) }
  }
}

/// How far a gradient lies from central differences of `loss` at `point` in steps of 1e-4: the relative L2 distance.
func distanceFromDifferences(_ gradient: [Double], at point: [Double], loss: ([Double]) -> Double) -> Double {
  let step = 1e-4
  var point = point
  var error = 0.0
  var size = 0.0
  for index in point.indices {
    let value = point[index]
    point[index] = value + step
    let above = loss(point)
    point[index] = value - step
    let below = loss(point)
    point[index] = value
    let difference = (above - below) / (2 * step)
    error += (gradient[index] - difference) * (gradient[index] - difference)
    size += difference * difference
  }
  return (error / size).squareRoot()
}

/// Σ a·b, the loss whose gradient with respect to `a` is `b`.
private func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
