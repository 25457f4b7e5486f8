import Compute
import Model
import Reference
import TestSupport
import Testing

struct AdamWTests {
  private func settings(step: Int, decay: Float = 0.1, scale: Float = 0.25) -> AdamWStep {
    AdamWStep(
      learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: decay, gradientScale: scale, step: step)
  }

  private struct State {
    let weights, gradients, first, second: GuardedMatrix

    init(_ count: Int, _ layout: Layout = .dense, seed: UInt64 = 1) {
      var generator = SeededGenerator(seed: seed)
      weights = GuardedMatrix(randomFloats(count, using: &generator), rows: 1, columns: count, layout: layout)
      gradients = GuardedMatrix(randomFloats(count, using: &generator), rows: 1, columns: count, layout: layout)
      first = GuardedMatrix(zeros: 1, columns: count, layout: layout)
      second = GuardedMatrix(zeros: 1, columns: count, layout: layout)
    }

    func step(_ settings: AdamWStep, _ range: Range<Int>, copy: GuardedMatrix? = nil) {
      adamWStep(
        weights: weights.floats + range.lowerBound, gradients: gradients.floats + range.lowerBound,
        firstMoment: first.floats + range.lowerBound, secondMoment: second.floats + range.lowerBound,
        workingCopy: copy.map { $0.view.base.assumingMemoryBound(to: BFloat16.self) + range.lowerBound },
        count: range.count, settings: settings)
    }
  }

  @Test("twelve steps agree with the plain twin, each from the same state", arguments: oddSizes, Layout.all)
  func agrees(count: Int, layout: Layout) {
    let state = State(count, layout)
    let copy = GuardedMatrix(zeros: 1, columns: count, type: .bfloat16, layout: layout)
    var generator = SeededGenerator(seed: 2)
    for step in 1...12 {
      let settings = settings(step: step)
      state.gradients.values = randomFloats(count, using: &generator)
      let gradients = state.gradients.values
      let scaled = gradients.map { Double($0) * Double(settings.gradientScale) }
      let before = (weights: state.weights.doubles, first: state.first.doubles)
      var (weights, first, second) = (before.weights, before.first, state.second.doubles)
      Reference.adamWStep(
        parameters: &weights, gradients: scaled, firstMoment: &first, secondMoment: &second,
        learningRate: Double(settings.learningRate), beta1: Double(settings.beta1), beta2: Double(settings.beta2),
        epsilon: Double(settings.epsilon), weightDecay: Double(settings.weightDecay), step: step)
      state.step(settings, 0..<count, copy: step.isMultiple(of: 2) ? copy : nil)

      // A product, a product and a sum, of the terms' magnitudes; in the quotient a few operations more.
      let (power1, power2) = (power(settings.beta1, step), power(settings.beta2, step))
      var firstErrors = first
      var weightErrors = first
      for index in 0..<count {
        let size = 0.9 * abs(before.first[index]) + 0.1 * abs(scaled[index])
        firstErrors[index] = 4 * floatRoundoff * size
        let move = 1e-3 * (size / (1 - power1)) / (second[index] / (1 - power2)).squareRoot()
        weightErrors[index] = floatRoundoff * (2 * abs(before.weights[index]) + 16 * move)
      }
      expectClose(state.first.values, first, errors: firstErrors, "first moment, step \(step)")
      expectClose(
        state.second.values, second, errors: second.map { 6 * floatRoundoff * $0 }, "second moment, step \(step)")
      expectClose(state.weights.values, weights, errors: weightErrors, "weights, step \(step)")
      if step.isMultiple(of: 2) { #expect(copy.values == state.weights.values.map { BFloat16($0).float }) }
      #expect(state.gradients.values == gradients)
      #expect(areIntactOutside(state.weights, state.gradients, state.first, state.second, copy))
    }
  }

  private func power(_ base: Float, _ exponent: Int) -> Double {
    (0..<exponent).reduce(1) { result, _ in result * Double(base) }
  }

  @Test("any split into workers' parts gives the same bits, with and without a working copy")
  func splitting() {
    let (whole, parts) = (State(1000), State(1000))
    let copy = GuardedMatrix(zeros: 1, columns: 1000, type: .bfloat16)
    for step in 1...3 {
      whole.step(settings(step: step), 0..<1000)
      for range in [0..<1, 1..<333, 333..<1000] { parts.step(settings(step: step), range, copy: copy) }
    }
    #expect(whole.weights.values == parts.weights.values)
    #expect(whole.first.values == parts.first.values && whole.second.values == parts.second.values)
  }

  @Test("without gradients only the decay moves the weights; without either, nothing does")
  func decay() {
    let state = State(40)
    state.gradients.values = [Float](repeating: 0, count: 40)
    let before = state.weights.values
    state.step(settings(step: 1, decay: 0), 0..<40)
    #expect(state.weights.values == before)
    state.step(settings(step: 2), 0..<40)
    expectClose(
      state.weights.values, before.map { Double($0) * (1 - 1e-3 * 0.1) },
      errors: before.map { 2 * floatRoundoff * Double(abs($0)) }, "weights")
  }

  @Test("the first step moves every weight by the learning rate against its gradient's sign")
  func firstStep() {
    let state = State(40)
    let before = state.weights.values
    state.step(settings(step: 1, decay: 0), 0..<40)
    let expected = zip(before, state.gradients.values).map { Double($0) - ($1 > 0 ? 1e-3 : -1e-3) }
    // ε is 1e-8 beside gradients that are mostly above 1e-3.
    expectClose(state.weights.values, expected, error: 1e-7 + 1e-3 * 1e-4, "weights")
  }

  @Test("the sum of squares in Double", arguments: oddSizes + [1023, 1024, 1025, 10_000], [0, 1])
  func sumOfSquaresAgrees(count: Int, offset: Int) {
    var generator = SeededGenerator(seed: UInt64(count))
    let values = GuardedMatrix(
      randomFloats(count, using: &generator), rows: 1, columns: count, layout: Layout(gap: 0, offset: offset))
    let exact = dot(values.doubles, values.doubles)
    let actual = sumOfSquares(values.floats, count: count)
    // Chains of at most 16 additions in a block, then the fold of 64 sums.
    #expect(abs(actual - exact) <= 24 * floatRoundoff * exact)
    #expect(actual == sumOfSquares(values.floats, count: count))
    values.floats[count / 2] = .nan
    #expect(sumOfSquares(values.floats, count: count).isNaN)
    values.floats[count / 2] = 1e30
    #expect(sumOfSquares(values.floats, count: count) == .infinity)
  }

  @Test("the sum of squares of nothing is zero")
  func sumOfNothing() {
    #expect(sumOfSquares([], count: 0) == 0)
  }
}
