import CPUEngine
import Compute
import Model
import TestSupport
import Testing

/// Rows of a batch that do not come from the embedding table.
@Suite("Embedded spans")
struct EmbeddedSpanTests {
  /// A token that no other row of the batches reads.
  private static let placeholder: Int32 = 52

  /// Two documents, with a span inside each, over the border of the workers' rows.
  private static func batch(_ values: [[Float]]) -> Batch {
    let random = Batch(lengths: [40, 30], vocabulary: Int(placeholder), seed: 21)
    var tokens = random.tokens
    let spans = [20..<38, 45..<48]
    for row in spans.joined() { tokens[row] = placeholder }
    var batch = Batch(
      tokens: tokens, targets: random.targets, lossWeights: random.lossWeights, documentOffsets: random.documentOffsets)
    for (rows, values) in zip(spans, values) { batch.embed(EmbeddedSpan(rows: rows, values: values)) }
    return batch
  }

  private static func randomValues(_ hiddenSize: Int) -> [[Float]] {
    var generator = SeededGenerator(seed: 22)
    return [18, 3].map { rows in (0..<rows * hiddenSize).map { _ in Float.random(in: -0.5...0.5, using: &generator) } }
  }

  private static func pass(_ parameters: Parameters, _ precision: ElementType = .float32, recomputes: Bool = false)
    throws -> TrainingPass
  {
    try TrainingPass(
      parameters, precision: precision, maximumTokens: 80, team: WorkerTeam(count: 2), recomputes: recomputes)
  }

  @Test("a span of the table's own rows gives the bits of tokens", arguments: ElementType.allCases)
  func tableRows(precision: ElementType) throws {
    let parameters = try ModelVariant.tied.parameters()
    let width = parameters.configuration.hiddenSize
    let row = Array(
      parameters[ParameterKey.embedding][Int(Self.placeholder) * width..<Int(Self.placeholder + 1) * width]
    )
    // A worker's copy of the table is of the products' type.
    .map { precision == .float32 ? $0 : BFloat16($0).float }
    let values = [18, 3].map { rows in (0..<rows).flatMap { _ in row } }
    let pass = try Self.pass(parameters, precision)
    #expect(pass.forward(Self.batch(values)) == pass.forward(Self.batch([])))
    #expect(pass.forward(Self.batch(Self.randomValues(width))) != pass.forward(Self.batch([])))
  }

  @Test(
    "the loss changes along each span as its gradient says, and the placeholders' row of the table has none",
    arguments: ModelVariant.allCases, [false, true])
  func gradients(variant: ModelVariant, recomputes: Bool) throws {
    // The balance of experts has a gradient, and is no part of the loss.
    var shape = variant.configuration
    shape.balanceLossWeight = 0
    let parameters = try Parameters(zeroed: shape)
    let weights = try variant.parameters().allValues
    for index in weights.indices { parameters.values[index] = weights[index] }
    let width = shape.hiddenSize
    let values = Self.randomValues(width)
    let pass = try Self.pass(parameters, recomputes: recomputes)
    pass.zeroGradients()
    _ = pass.forwardBackward(Self.batch(values))
    let gradients = [pass.embeddedGradient(0), pass.embeddedGradient(1)]
    #expect(gradients.map(\.count) == values.map(\.count))

    let table = parameters.table.entry(ParameterKey.embedding)!
    let row = table.offset + Int(Self.placeholder) * width
    if !shape.tiesEmbeddings {
      #expect((row..<row + width).allSatisfy { pass.gradients![$0] == 0 })
    }

    for span in 0..<2 {
      let norm = gradients[span].reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      let direction = gradients[span].map { $0 / Float(norm) }
      func loss(_ step: Float) -> Double {
        var changed = values
        for index in direction.indices { changed[span][index] += step * direction[index] }
        return pass.forward(Self.batch(changed)).loss
      }
      // Richardson's extrapolation removes the cubic term.
      func slope(_ step: Float) -> Double { (loss(step) - loss(-step)) / Double(2 * step) }
      let step: Float = 4e-3
      let found = (4 * slope(step) - slope(2 * step)) / 3
      #expect(abs(found - norm) < 0.01 * norm, "\(found) against \(norm)")
    }
  }
}
