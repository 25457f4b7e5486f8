import Compute
import Machine
import Model
import Reference
import TestSupport
import Testing

@Suite("Routing to experts")
struct RouterTests {
  struct Shape: CustomTestStringConvertible {
    var experts: Int
    var chosen: Int
    var width: Int
    var normalizes = true
    var testDescription: String { "\(chosen) of \(experts), width \(width), normalised: \(normalizes)" }
  }

  static let shapes = [
    Shape(experts: 4, chosen: 2, width: 33), Shape(experts: 1, chosen: 1, width: 8),
    Shape(experts: 3, chosen: 3, width: 17), Shape(experts: 20, chosen: 5, width: 64),
    Shape(experts: 6, chosen: 2, width: 33, normalizes: false),
  ]

  @Test("choice, weights and probabilities are the plain twin's", arguments: shapes, ElementType.allCases)
  func forward(shape: Shape, type: ElementType) {
    var generator = SeededGenerator(seed: UInt64(shape.experts))
    let rows = 9
    let input = GuardedMatrix(
      randomFloats(rows * shape.width, using: &generator), rows: rows, columns: shape.width, type: type)
    let router = GuardedMatrix(
      randomFloats(shape.experts * shape.width, in: -0.3...0.3, using: &generator), rows: shape.experts,
      columns: shape.width)
    let probabilities = GuardedMatrix(zeros: rows, columns: shape.experts)
    var experts = [Int32](repeating: -1, count: rows * shape.chosen)
    var weights = [Float](repeating: -1, count: rows * shape.chosen)
    routerForward(
      input: input.view, router: router.view, probabilities: probabilities.view, expertsPerToken: shape.chosen,
      normalizes: shape.normalizes, experts: &experts, weights: &weights)
    let expected = Reference.routerForward(
      input: input.doubles, router: router.doubles, expertCount: shape.experts, expertsPerToken: shape.chosen,
      normalizes: shape.normalizes, width: shape.width)
    #expect(experts.map(Int.init) == expected.experts.flatMap { $0 })
    // A softmax multiplies the error of its logits, sums of `width` products below 0.6, by at most 2.
    let error = 2 * 0.6 * Double(shape.width) * floatRoundoff * 4
    expectClose(probabilities.values, expected.probabilities, error: error, "probabilities")
    expectClose(weights, expected.weights.flatMap { $0 }, error: 4 * error, "weights")
    #expect(areIntactOutside(input, router, probabilities))
    for row in 0..<rows where shape.normalizes {
      let sum = weights[row * shape.chosen..<(row + 1) * shape.chosen].reduce(0, +)
      #expect(abs(sum - 1) < 1e-6)
    }
  }

  @Test("of equal probabilities the first come first; NaN still chooses different experts")
  func ties() {
    for value in [Float(0), .nan] {
      let input = GuardedMatrix([value, 1], rows: 1, columns: 2)
      let router = GuardedMatrix([1, 0, 1, 0, 1, 0, 1, 0], rows: 4, columns: 2)
      let probabilities = GuardedMatrix(zeros: 1, columns: 4)
      var experts: [Int32] = [-1, -1, -1]
      var weights: [Float] = [0, 0, 0]
      routerForward(
        input: input.view, router: router.view, probabilities: probabilities.view, expertsPerToken: 3,
        experts: &experts, weights: &weights)
      #expect(experts == [0, 1, 2])
    }
  }

  @Test("the gradients of logits, input and router are the plain twin's", arguments: shapes)
  func backward(shape: Shape) {
    var generator = SeededGenerator(seed: 5)
    let rows = 7
    let input = GuardedMatrix(
      randomFloats(rows * shape.width, using: &generator), rows: rows, columns: shape.width)
    let router = GuardedMatrix(
      randomFloats(shape.experts * shape.width, in: -0.3...0.3, using: &generator), rows: shape.experts,
      columns: shape.width)
    let expected = Reference.routerForward(
      input: input.doubles, router: router.doubles, expertCount: shape.experts, expertsPerToken: shape.chosen,
      normalizes: shape.normalizes, width: shape.width)
    let probabilities = GuardedMatrix(expected.probabilities.map { Float($0) }, rows: rows, columns: shape.experts)
    let slots = rows * shape.chosen
    // Slots stand in reverse order among the experts' rows.
    let places = (0..<slots).map { Int32(slots - 1 - $0) }
    let dWeights = randomFloats(slots, using: &generator)
    let dProbabilities = randomFloats(rows * shape.experts, using: &generator)
    let dLogits = GuardedMatrix(dProbabilities, rows: rows, columns: shape.experts)
    routerBackward(
      probabilities: probabilities.view, expertsPerToken: shape.chosen, normalizes: shape.normalizes,
      experts: expected.experts.flatMap { $0 }.map(Int32.init),
      weights: expected.weights.flatMap { $0 }.map { Float($0) },
      places: places, dWeights: dWeights, dLogits: dLogits.view)
    let dZ = Reference.routerBackward(
      expected, normalizes: shape.normalizes,
      dWeights: (0..<rows).map { row in
        (0..<shape.chosen).map { Double(dWeights[slots - 1 - row * shape.chosen - $0]) }
      }, dProbabilities: dProbabilities.map(Double.init))
    // Gradients of up to 2 go through differences, divided by a sum of at least k/E.
    let error = 64 * floatRoundoff * Double(shape.experts) / Double(shape.chosen)
    expectClose(dLogits.values, dZ, error: error, "dLogits")

    let dInput = GuardedMatrix(randomFloats(rows * shape.width, using: &generator), rows: rows, columns: shape.width)
    let before = dInput.doubles
    routerInputBackward(dLogits: dLogits.view, router: router.view, dInput: dInput.view)
    let product = Reference.multiply(
      dLogits.doubles, router.doubles, rows: rows, inner: shape.experts, columns: shape.width)
    expectClose(dInput.values, zip(before, product).map(+), error: 1e-5, "dInput")

    let dRouter = GuardedMatrix(
      randomFloats(shape.experts * shape.width, using: &generator), rows: shape.experts, columns: shape.width)
    let dRouterBefore = dRouter.doubles
    let middle = shape.width / 2
    for columns in [0..<middle, middle..<shape.width] {
      routerWeightBackward(
        dLogits: dLogits.view, input: input.view.columns(columns), dRouter: dRouter.view.columns(columns))
    }
    let dRouterProduct = Reference.multiply(
      dLogits.doubles, aTransposed: true, input.doubles, rows: shape.experts, inner: rows, columns: shape.width)
    expectClose(dRouter.values, zip(dRouterBefore, dRouterProduct).map(+), error: 1e-5, "dRouter")
    #expect(areIntactOutside(input, router, probabilities, dLogits, dInput, dRouter))
  }

  @Test(
    "every token has its rows, each expert's side by side, with whole blocks of zeros in between", arguments: [1, 2, 3])
  func placement(workers: Int) throws {
    var generator = SeededGenerator(seed: UInt64(workers))
    let (experts, chosen, width) = (5, 2, 16)
    let tokens = 32 * workers * 3
    let input = GuardedMatrix(randomFloats(tokens * width, using: &generator), rows: tokens, columns: width)
    let router = GuardedMatrix(randomFloats(experts * width, using: &generator), rows: experts, columns: width)
    let buffer = try AlignedBuffer(
      byteCount: ExpertRouting.byteCount(
        tokens: tokens, expertCount: experts, expertsPerToken: chosen, workers: workers))
    let routing = ExpertRouting(
      buffer.base, tokens: tokens, expertCount: experts, expertsPerToken: chosen, workers: workers)
    let shares = (0..<workers).map { $0 * 96..<($0 + 1) * 96 }
    for worker in 0..<workers {
      routing.choose(
        worker: worker, tokens: shares[worker], input: input.view.rows(shares[worker]), router: router.view)
    }
    for worker in 0..<workers { routing.place(worker: worker, tokens: shares[worker]) }
    var end = 0
    var seen: Set<[Int]> = []
    for expert in 0..<experts {
      #expect(routing.rows(of: expert).lowerBound == end)
      for worker in 0..<workers {
        let rows = routing.rows(of: expert, worker: worker)
        #expect(rows.lowerBound == end && rows.count % ExpertRouting.rowMultiple == 0)
        end = rows.upperBound
        for row in rows where routing.rowTokens[row] >= 0 {
          let token = Int(routing.rowTokens[row])
          #expect(shares[worker].contains(token))
          let slot = (0..<chosen).first { Int(routing.experts[token * chosen + $0]) == expert }.map {
            token * chosen + $0
          }
          let found = try #require(slot)
          #expect(Int(routing.places[found]) == row && routing.rowWeights[row] == routing.weights[found])
          seen.insert([token, expert])
        }
        for row in rows where routing.rowTokens[row] < 0 { #expect(routing.rowWeights[row] == 0) }
      }
    }
    #expect(seen.count == tokens * chosen)
    #expect(
      end
        <= ExpertRouting.rowCapacity(tokens: tokens, expertCount: experts, expertsPerToken: chosen, workers: workers))

    var load = [Float](repeating: 0, count: experts)
    var choices = [Double](repeating: 0, count: experts)
    let twin = Reference.routerForward(
      input: input.doubles, router: router.doubles, expertCount: experts, expertsPerToken: chosen, width: width)
    for document in [0..<1, 1..<20, 20..<tokens] {
      let balance = expertBalance(routing, tokens: document, load: &load, choices: &choices)
      let expected = Reference.expertBalance(twin, tokens: document, expertCount: experts)
      #expect(abs(Double(balance) - expected) < 1e-5)
      let gradient = GuardedMatrix(zeros: document.count, columns: experts)
      expertBalanceBackward(
        load: load, scale: 3, documentLength: document.count, dProbabilities: gradient.view)
      let dExpected = Reference.expertBalanceBackward(twin, tokens: document, expertCount: experts)
      expectClose(gradient.values, dExpected.map { 3 * $0 }, error: 1e-6, "balance of \(document)")
    }
    #expect(choices.reduce(0, +) == Double(tokens * chosen))
  }

  @Test("rows are gathered with zeros where there is none, and added back where they came from")
  func gathering() {
    let source = GuardedMatrix((0..<12).map(Float.init), rows: 4, columns: 3)
    let rows: [Int32] = [2, -1, 0, 2]
    let gathered = GuardedMatrix([Float](repeating: 7, count: 12), rows: 4, columns: 3)
    gatherRows(source.view, rows, into: gathered.view)
    #expect(gathered.values == [6, 7, 8, 0, 0, 0, 0, 1, 2, 6, 7, 8])
    let target = GuardedMatrix([Float](repeating: 100, count: 9), rows: 3, columns: 3)
    scatterAddRows(gathered.view, rows, into: target.view)
    #expect(target.values == [100, 101, 102, 100, 100, 100, 112, 114, 116])
    #expect(areIntactOutside(source, gathered, target))
  }
}
