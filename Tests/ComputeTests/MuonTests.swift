import Compute
import Model
import Reference
import TestSupport
import Testing

struct MuonTests {
  private static let shapes = [(1, 20), (5, 7), (7, 5), (16, 16), (24, 65), (65, 24), (40, 40)]

  private struct State {
    let rows, columns: Int
    let weights, gradients, momentum, copy: GuardedMatrix

    init(_ rows: Int, _ columns: Int) {
      var generator = SeededGenerator(seed: UInt64(rows))
      self.rows = rows
      self.columns = columns
      weights = GuardedMatrix(randomFloats(rows * columns, using: &generator), rows: rows, columns: columns)
      gradients = GuardedMatrix(randomFloats(rows * columns, using: &generator), rows: rows, columns: columns)
      momentum = GuardedMatrix(zeros: rows, columns: columns)
      copy = GuardedMatrix(zeros: rows, columns: columns, type: .bfloat16)
    }

    func step(_ settings: MuonStep, _ muon: Muon) {
      muon.step(
        weights: weights.floats, gradients: gradients.floats, momentum: momentum.floats,
        workingCopy: copy.view.base.assumingMemoryBound(to: BFloat16.self), rows: rows, columns: columns,
        settings: settings, products: MatrixProducts())
    }

    var isIntact: Bool { areIntactOutside(weights, gradients, momentum, copy) }
  }

  /// The relative L2 distance between how two steps moved the weights.
  private func distance(_ found: [Float], _ expected: [Double], from before: [Double]) -> Double {
    var (error, size) = (0.0, 0.0)
    for index in expected.indices {
      error += (Double(found[index]) - expected[index]) * (Double(found[index]) - expected[index])
      size += (expected[index] - before[index]) * (expected[index] - before[index])
    }
    return (error / size).squareRoot()
  }

  @Test("four steps agree with the plain twin, each from the same state", arguments: shapes, ElementType.allCases)
  func agrees(_ shape: (Int, Int), type: ElementType) throws {
    let state = State(shape.0, shape.1)
    let muon = try Muon(shapes: [shape], type: type)
    let settings = MuonStep(learningRate: 0.05, weightDecay: 0.1, gradientScale: 0.25)
    var generator = SeededGenerator(seed: 3)
    for step in 1...4 {
      state.gradients.values = randomFloats(shape.0 * shape.1, using: &generator)
      let gradients = state.gradients.values
      let before = state.weights.doubles
      var (weights, momentum) = (before, state.momentum.doubles)
      Reference.muonStep(
        parameters: &weights, gradients: gradients.map { Double($0) * 0.25 }, momentum: &momentum, rows: shape.0,
        columns: shape.1, learningRate: Double(settings.learningRate), momentumShare: Double(settings.momentum),
        weightDecay: Double(settings.weightDecay))
      state.step(settings, muon)
      // A product and a sum of numbers below 2.
      expectClose(state.momentum.values, momentum, error: 8 * floatRoundoff, "momentum, step \(step)")
      // An iteration multiplies what was lost in small singular values by up to 3.44, five times over; in bf16 that is
      // a few hundredths of the move.
      let limit = type == .float32 ? 2e-4 : 0.05
      let distance = distance(state.weights.values, weights, from: before)
      #expect(distance < limit, "step \(step): \(distance)")
      #expect(state.copy.values == state.weights.values.map { BFloat16($0).float })
      #expect(state.gradients.values == gradients && state.isIntact)
    }
  }

  @Test(
    "singular values become the quintic's, near 1, and singular vectors stay",
    arguments: [(12, 12), (12, 30), (30, 12)])
  func singularValues(_ shape: (Int, Int)) throws {
    let (rows, columns) = shape
    let side = min(rows, columns)
    var generator = SeededGenerator(seed: 7)
    let left = orthonormal(side, of: rows, using: &generator)
    let right = orthonormal(side, of: columns, using: &generator)
    // From 1 down to 0.01.
    let values = (0..<side).map { 0.01 + 0.99 * Double($0) / Double(side - 1) }
    let norm = dot(values, values).squareRoot()
    let state = State(rows, columns)
    state.weights.values = [Float](repeating: 0, count: rows * columns)
    state.gradients.values = (0..<rows * columns).map { index in
      Float((0..<side).reduce(0.0) { $0 + values[$1] * left[$1][index / columns] * right[$1][index % columns] })
    }
    // Without momentum and decay, at the rate that undoes the factor, the weights become minus the orthogonal matrix.
    let rate = 1 / (0.2 * Float(max(rows, columns)).squareRoot())
    state.step(
      MuonStep(learningRate: rate, momentum: 0, weightDecay: 0, gradientScale: 3),
      try Muon(shapes: [shape], type: .float32))
    let moved = state.weights.doubles
    for (number, value) in values.enumerated() {
      for other in 0..<side {
        let found = -(0..<rows).reduce(0.0) { sum, row in
          sum + left[number][row] * dot(Array(moved[row * columns..<(row + 1) * columns]), right[other])
        }
        let expected = number == other ? Reference.quintic(value / norm) : 0
        #expect(abs(found - expected) < 1e-3, "\(number), \(other)")
        if number == other { #expect((0.68...1.21).contains(found), "\(value / norm) became \(found)") }
      }
    }
  }

  /// `count` vectors of `size` numbers, of length 1 and perpendicular to each other.
  private func orthonormal(_ count: Int, of size: Int, using generator: inout SeededGenerator) -> [[Double]] {
    var vectors: [[Double]] = []
    for _ in 0..<count {
      var vector = randomFloats(size, using: &generator).map(Double.init)
      // Twice, since the first time leaves rounding.
      for other in vectors + vectors {
        let share = dot(vector, other)
        for index in 0..<size { vector[index] -= share * other[index] }
      }
      let norm = dot(vector, vector).squareRoot()
      vectors.append(vector.map { $0 / norm })
    }
    return vectors
  }

  @Test("without gradients only the decay moves the weights", arguments: ElementType.allCases)
  func nothingToLearn(type: ElementType) throws {
    let state = State(6, 9)
    state.gradients.values = [Float](repeating: 0, count: 54)
    let before = state.weights.values
    state.step(
      MuonStep(learningRate: 0.5, weightDecay: 0.1, gradientScale: 1), try Muon(shapes: [(6, 9)], type: type))
    expectClose(
      state.weights.values, before.map { Double($0) * 0.95 },
      errors: before.map { 3 * floatRoundoff * Double(abs($0)) },
      "weights")
  }

  @Test("scratch that served other matrices gives the same bits", arguments: ElementType.allCases)
  func sharedScratch(type: ElementType) throws {
    let settings = MuonStep(learningRate: 0.1, weightDecay: 0, gradientScale: 1)
    let shared = try Muon(shapes: Self.shapes, type: type)
    for shape in Self.shapes {
      let (alone, together) = (State(shape.0, shape.1), State(shape.0, shape.1))
      alone.step(settings, try Muon(shapes: [shape], type: type))
      together.step(settings, shared)
      #expect(alone.weights.values == together.weights.values)
    }
  }
}
