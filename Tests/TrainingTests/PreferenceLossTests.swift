import CPUEngine
import Compute
import Corpus
import Foundation
import Model
import TestSupport
import Testing
import Training

private func robust() -> PreferenceLoss {
  var loss = PreferenceLoss(shape: .robust, beta: 0.5, isLengthNormalized: false)
  loss.labelSmoothing = 0.2
  return loss
}

private let shapes: [PreferenceLoss] = [
  PreferenceLoss(shape: .hinge, beta: 0.3, isLengthNormalized: false), robust(),
  PreferenceLoss(shape: .simpo, beta: 2, isLengthNormalized: false),
  PreferenceLoss(shape: .orpo, beta: 0.7, isLengthNormalized: false),
  PreferenceLoss(shape: .sigmoid, beta: 0.1, isLengthNormalized: false),
  PreferenceLoss(shape: .sigmoid, beta: 2, isLengthNormalized: true),
  PreferenceLoss(shape: .ipo, beta: 0.1, isLengthNormalized: false),
  PreferenceLoss(shape: .ipo, beta: 0.5, isLengthNormalized: true),
]

extension PreferenceLoss {
  /// The loss of a pair and its derivative with respect to h.
  fileprivate func callAsFunction(_ h: Double) -> (loss: Double, derivative: Double) {
    let pair = self(chosen: h, rejected: 0)
    return (pair.loss, pair.dChosen)
  }
}

@Suite("Preference loss")
struct PreferenceLossTests {
  @Test("values by hand: log 2 and a slope of β/2 where nothing is preferred, 1/(2β)² for IPO")
  func byHand() {
    let sigmoid = PreferenceLoss(shape: .sigmoid, beta: 0.1, isLengthNormalized: false)
    #expect(abs(sigmoid(0).loss - log(2)) < 1e-15 && abs(sigmoid(0).derivative + 0.05) < 1e-15)
    let ipo = PreferenceLoss(shape: .ipo, beta: 0.25, isLengthNormalized: false)
    #expect(ipo(0).loss == 4 && ipo(0).derivative == -4 && ipo(2).loss == 0 && ipo(2).derivative == 0)
    let hinge = PreferenceLoss(shape: .hinge, beta: 0.5, isLengthNormalized: false)
    #expect(hinge(1).loss == 0.5 && hinge(1).derivative == -0.5 && hinge(2).loss == 0 && hinge(3).derivative == 0)
    // Where nothing is preferred, the swapped pairs take from the others what they add: log 2 as without them.
    #expect(abs(robust()(0).loss - log(2)) < 1e-15)
    // Chosen and rejected alike: the odds cancel, and the rest is the cross-entropy of the chosen answer.
    let orpo = PreferenceLoss(shape: .orpo, beta: 0.1, isLengthNormalized: false)(chosen: -2, rejected: -2)
    #expect(abs(orpo.loss - (2 + 0.1 * log(2))) < 1e-15)
    #expect(abs(orpo.dChosen - (-1 - 0.05 / (1 - exp(-2)))) < 1e-15)
  }

  @Test("the derivative is that of the loss, and no size of the difference overflows", arguments: shapes)
  func derivative(_ loss: PreferenceLoss) {
    let step = 1e-4
    // Log-probabilities where they are odds, else any differences.
    let values = loss.shape == .orpo ? [-30, -3, -0.5, -0.01] : [-30, -3, -0.5, 0, 0.2, 4, 50]
    for chosen in values {
      for rejected in [-2, -0.3] {
        let here = loss(chosen: chosen, rejected: rejected)
        func slope(_ dChosen: Double, _ dRejected: Double) -> Double {
          let after = loss(chosen: chosen + dChosen, rejected: rejected + dRejected)
          let before = loss(chosen: chosen - dChosen, rejected: rejected - dRejected)
          return (after.loss - before.loss) / (2 * step)
        }
        let slopes = (slope(step, 0), slope(0, step))
        #expect(abs(slopes.0 - here.dChosen) < 1e-6 * max(1, abs(slopes.0)), "at \(chosen), \(rejected)")
        #expect(abs(slopes.1 - here.dRejected) < 1e-6 * max(1, abs(slopes.1)), "at \(chosen), \(rejected)")
      }
    }
    for (chosen, rejected) in [(-1e6, 0.0), (0, -1e6), (0, 0)] {
      let pair = loss(chosen: chosen, rejected: rejected)
      #expect(pair.loss.isFinite && pair.dChosen.isFinite && pair.dRejected.isFinite)
    }
  }

  @Test("rewards, margins, accuracy and log-probabilities under trl's names")
  func metrics() {
    let loss = PreferenceLoss(shape: .sigmoid, beta: 0.5, isLengthNormalized: false)
    // Cross-entropies of two pairs: the first prefers the chosen answer, the second does not.
    let documents = [4.0, 9, 6, 2].map { LossSum(loss: $0, weight: 2, tokens: 5) }
    var sums = MetricSums()
    let result = loss.compare(documents, reference: [-5, -8, -4, -2], addingTo: &sums)
    #expect(result.loss == loss(2).loss + loss(-2).loss)
    let means = Dictionary(uniqueKeysWithValues: sums.means.map { ($0.name, $0.value) })
    #expect(
      means == [
        "rewards/chosen": -0.25, "rewards/rejected": -0.25, "rewards/margins": 0, "rewards/accuracies": 0.5,
        "logps/chosen": -5, "logps/rejected": -5.5,
      ])
    #expect(PreferenceLoss.metricNames.allSatisfy { sums.weight($0) == 2 })
    var normalizedSums = MetricSums()
    let normalized = PreferenceLoss(shape: .sigmoid, beta: 0.5, isLengthNormalized: true)
      .compare(documents, reference: [-5, -8, -4, -2], addingTo: &normalizedSums)
    #expect(normalized.loss == loss(1).loss + loss(-1).loss && normalizedSums == sums)
    // A document's cross-entropy is -π times its tokens.
    #expect(
      normalized.derivatives == [1, -1, 1, -1].enumerated().map { Float(-loss($0 < 2 ? 1 : -1).derivative / 2) * $1 })
  }

  @Test("the gradient of the weights is that of the loss of the pairs", arguments: shapes, [1, 2])
  func gradient(_ loss: PreferenceLoss, workers: Int) throws {
    var configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, vocabularySize: 97)
    configuration.normalizesQueriesAndKeys = true
    let parameters = try Parameters(configuration: configuration, seed: 3)
    for entry in parameters.table.entries where entry.role.isDecayed {
      for index in entry.range { parameters.values[index] *= 5 }
    }
    var generator = SeededGenerator(seed: 4)
    var batch = Batch()
    for (number, length) in [12, 20, 7, 5, 30, 31].enumerated() {
      // Pairs in another order than in the data.
      batch.append(
        document: (0...length).map { _ in Int32.random(in: 0..<97, using: &generator) }, number: (number + 4) % 6,
        isTrained: { $0 > length / 3 })
    }
    let engine = try CPUEngineProvider(threads: workers).makeEngine(
      .whole(parameters), EngineSettings(precision: .float32, maximumTokens: 128, optimizer: .adamW))
    // The reference is near the model, or the differences would be too large for a slope.
    var reference = [Double](repeating: 0, count: 6)
    for (number, sum) in zip(batch.documentNumbers, engine.forward(batch, lossWeights: nil).documentSums(batch)) {
      reference[number] = -sum.loss + Double.random(in: -1...1, using: &generator)
    }
    let objective = PreferenceObjective(loss, reference: loss.shape.needsReference ? reference : nil)
    engine.zeroGradients()
    var sums = objective.noSums
    objective.forwardBackward(engine, batch, addingTo: &sums)
    let entries = engine.trained.entries
    let gradient = entries.map { engine.read(.gradients, of: $0) }
    var again = objective.noSums
    objective.forward(engine, batch, addingTo: &again)
    #expect(again == sums && sums.weight("loss") == 6 && sums.weight("rewards/margins") == 3)

    // Along the gradient the loss changes by its norm: the largest signal over the rounding of fp32.
    let original = entries.map { engine.read(.weights, of: $0) }
    let norm = gradient.joined().reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    #expect(abs(engine.gradientNorm() - norm) < 1e-6 * norm)
    func value(_ step: Float) -> Double {
      for (index, entry) in entries.enumerated() {
        let moved = zip(original[index], gradient[index]).map { $0 + step * ($1 / Float(norm)) }
        engine.write(.weights, of: entry, moved)
      }
      var sums = objective.noSums
      objective.forward(engine, batch, addingTo: &sums)
      return sums.sum("loss")
    }
    let step: Float = 2e-3
    // Richardson's extrapolation removes the cubic term.
    func slope(_ step: Float) -> Double { (value(step) - value(-step)) / Double(2 * step) }
    let found = (4 * slope(step) - slope(2 * step)) / 3
    #expect(abs(found - norm) < 5e-3 * norm, "\(found) against \(norm)")
  }
}
