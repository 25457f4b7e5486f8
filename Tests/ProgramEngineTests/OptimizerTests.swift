import Model
import ProgramEngine
import Programs
import Reference
import TestSupport
import Testing

/// The optimizers' steps as programs, against their plain twins in Double.
@Suite("Optimizers of programs")
struct ProgramOptimizerTests {
  private func random(_ count: Int, seed: UInt64, _ range: ClosedRange<Float> = -1...1) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float.random(in: range, using: &generator) }
  }

  private let step = OptimizerStep(
    number: 7, gradientScale: 0.25,
    adamW: .init(learningRate: 0.02, beta1: 0.9, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.3),
    muon: .init(learningRate: 0.03, weightDecay: 0.2))

  private func run(_ inputs: [[Float]], _ shape: [Int], _ body: ([Tensor], StepNumbers) -> [Tensor]) -> [[Double]] {
    let builder = ProgramBuilder()
    let tensors = inputs.indices.map { builder.input("\($0)", TensorType(.float32, shape)) }
    let numbers = StepNumbers(builder.input("step", StepNumbers.type))
    return Interpreter().run(
      builder.program(body(tensors, numbers)), inputs.map { HostTensor($0, shape) } + [StepNumbers.values(step)]
    ).map { $0.floats.map(Double.init) }
  }

  private func expect(_ found: [Double], _ expected: [Double], within tolerance: Double, _ name: String) {
    #expect(found.count == expected.count)
    for (left, right) in zip(found, expected) { #expect(abs(left - right) < tolerance, "\(name)") }
  }

  @Test("AdamW, with and without decay", arguments: [true, false])
  func adamW(isDecayed: Bool) {
    let inputs = [random(6, seed: 1), random(6, seed: 2), random(6, seed: 3), random(6, seed: 4, 0...1)]
    let found = run(inputs, [2, 3]) {
      let step = AdamW(
        weight: $0[0], gradient: $0[1], firstMoment: $0[2], secondMoment: $0[3], $1, isDecayed: isDecayed)
      return [step.weight, step.firstMoment, step.secondMoment]
    }
    var (p, m, v) = (inputs[0].map(Double.init), inputs[2].map(Double.init), inputs[3].map(Double.init))
    Reference.adamWStep(
      parameters: &p, gradients: inputs[1].map { Double($0) * 0.25 }, firstMoment: &m, secondMoment: &v,
      learningRate: 0.02, beta1: 0.9, beta2: 0.95, epsilon: 1e-3, weightDecay: isDecayed ? 0.3 : 0, step: 7)
    expect(found[0], p, within: 1e-6, "weight")
    expect(found[1], m, within: 1e-6, "first moment")
    expect(found[2], v, within: 1e-6, "second moment")
  }

  @Test("Muon, of wide, tall and square matrices", arguments: [(3, 7), (7, 3), (4, 4)])
  func muon(rows: Int, columns: Int) {
    let count = rows * columns
    let inputs = [random(count, seed: 5), random(count, seed: 6), random(count, seed: 7)]
    let found = run(inputs, [rows, columns]) {
      let step = Muon(weight: $0[0], gradient: $0[1], momentum: $0[2], $1, .float32)
      return [step.weight, step.momentum]
    }
    var (w, m) = (inputs[0].map(Double.init), inputs[2].map(Double.init))
    Reference.muonStep(
      parameters: &w, gradients: inputs[1].map { Double($0) * 0.25 }, momentum: &m, rows: rows, columns: columns,
      learningRate: 0.03, momentumShare: 0.95, weightDecay: 0.2)
    // Five iterations, each of which can multiply an error by 3.4.
    expect(found[0], w, within: 1e-5, "weight")
    expect(found[1], m, within: 1e-6, "momentum")
  }
}
