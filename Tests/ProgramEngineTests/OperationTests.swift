import Model
import ProgramEngine
import Programs
import Reference
import TestSupport
import Testing

/// Each operation by the interpreter, forward and backward, against its plain twin in Double, whose backward pass is tested
/// against differences.
@Suite("Operations of programs")
struct OperationTests {
  /// Sums of up to a hundred terms, each rounded to 6e-8 of its size.
  private static let tolerance = 1e-5

  private func random(_ count: Int, seed: UInt64) -> [Double] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Double(Float.random(in: -1.5...1.5, using: &generator)) }
  }

  private func tensor(_ values: [Double], _ shape: Int...) -> HostTensor { HostTensor(values.map(Float.init), shape) }

  /// What `body` makes of these numbers.
  private func run(_ inputs: [HostTensor], _ body: ([Tensor]) -> [Tensor]) -> [[Float]] {
    let builder = ProgramBuilder()
    let tensors = inputs.enumerated().map { builder.input("\($0)", $1.type) }
    return Interpreter().run(builder.program(body(tensors)), inputs).map(\.floats)
  }

  private func expect(
    _ found: [Float], _ expected: [Double], _ name: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(found.count == expected.count, "\(name)", sourceLocation: sourceLocation)
    let (difference, size) = zip(found, expected).reduce((0.0, 0.0)) { sums, pair in
      (sums.0 + (Double(pair.0) - pair.1) * (Double(pair.0) - pair.1), sums.1 + pair.1 * pair.1)
    }
    let error = (difference / max(size, 1e-30)).squareRoot()
    #expect(error < Self.tolerance, "\(name): relative error \(error)", sourceLocation: sourceLocation)
  }

  @Test("RMSNorm")
  func rmsNorm() {
    let (x, w, dY) = (random(5 * 7, seed: 1), random(7, seed: 2), random(5 * 7, seed: 3))
    let found = run([tensor(x, 5, 7), tensor(w, 7), tensor(dY, 5, 7)]) {
      let norm = RMSNorm($0[0], weight: $0[1], epsilon: 0.1)
      let (dInput, dWeight) = norm.backward($0[2])
      return [norm.output, dInput, dWeight]
    }
    let (output, reciprocals) = Reference.rmsNormForward(input: x, weight: w, epsilon: 0.1)
    let (dInput, dWeight) = Reference.rmsNormBackward(
      dOutput: dY, input: x, weight: w, reciprocalRootMeanSquare: reciprocals)
    expect(found[0], output, "output")
    expect(found[1], dInput, "dInput")
    expect(found[2], dWeight, "dWeight")
  }

  @Test("rotary embedding")
  func rotary() {
    let (x, angles) = (random(4 * 3 * 6, seed: 4), (0..<5).map { row in random(3, seed: UInt64(row)) })
    let rows = [3, 0, 4, 3]
    let table = angles.flatMap { $0 }
    let found = run([
      tensor(x, 4, 3, 6), tensor(table.map { Reference.cosineAndSine($0).0 }, 5, 3),
      tensor(table.map { Reference.cosineAndSine($0).1 }, 5, 3), HostTensor(integers: rows.map(Int32.init), [4]),
    ]) {
      let embedding = RotaryEmbedding(cosines: $0[1], sines: $0[2], rows: $0[3])
      return [embedding.forward($0[0]), embedding.backward($0[0])]
    }
    for (place, direction) in [1.0, -1.0].enumerated() {
      let expected = Reference.rotary(
        x, width: 18, headSize: 6, angles: rows.map { angles[$0] }, direction: direction)
      expect(found[place], expected, "direction \(direction)")
    }
  }

  /// One block that holds all; blocks in which documents begin and end anywhere; documents over several blocks.
  @Test("attention", arguments: [(4, 2), (3, 3), (2, 1)], [(16, 16), (8, 8), (4, 8), (2, 7), (1, 7)])
  func attention(heads: (Int, Int), blocks: (length: Int, longest: Int)) {
    // The last two rows are padding, a document of their own.
    checkAttention(heads, padding: 16) {
      Attention(
        queries: $0[0], keys: $0[1], values: $0[2],
        in: DocumentBlocks(documents: $0[3], length: blocks.length, longest: blocks.longest), .float32)
    }
  }

  @Test("attention as one operation", arguments: [(4, 2), (3, 3), (2, 1)])
  func kernelAttention(heads: (Int, Int)) {
    // Of padding it computes nothing, so the last two rows are a document that is none.
    checkAttention(heads, padding: 4) {
      KernelAttention(
        queries: $0[0], keys: $0[1], values: $0[2],
        in: DocumentBlocks(documents: $0[3], length: 8, longest: 8), .float32)
    }
  }

  /// Five documents of attention against its twin.
  ///
  /// - Parameters:
  ///   - padding: the number of the last one.
  ///   - make: of queries, keys, values and the documents' numbers.
  private func checkAttention(
    _ heads: (Int, Int), padding: Int32, sourceLocation: SourceLocation = #_sourceLocation,
    _ make: ([Tensor]) -> any DocumentAttention
  ) {
    let (heads, groups) = heads
    let shape = Reference.AttentionShape(
      headCount: heads, keyValueHeadCount: groups, headSize: 3, documentOffsets: [0, 4, 5, 12, 14, 16])
    let (fused, dOutput) = (random(16 * shape.fusedWidth, seed: 6), random(16 * shape.outputWidth, seed: 7))
    let documents: [Int32] = [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, padding, padding]
    let found = run([
      tensor(fused, 16, shape.fusedWidth), tensor(dOutput, 16, shape.outputWidth),
      HostTensor(integers: documents, [16]),
    ]) {
      let parts = $0[0].split(1, [heads * 3, groups * 3, groups * 3])
      let attention = make([
        parts[0].reshaped([16, heads, 3]), parts[1].reshaped([16, groups, 3]), parts[2].reshaped([16, groups, 3]),
        $0[2],
      ])
      let (dQueries, dKeys, dValues) = attention.backward($0[1])
      let fused = [(dQueries, heads), (dKeys, groups), (dValues, groups)].map { $0.reshaped([16, $1 * 3]) }
      return [attention.output, .concatenated(fused, 1)]
    }
    expect(
      found[0], Reference.attentionForward(queriesKeysValues: fused, shape), "output", sourceLocation: sourceLocation)
    expect(
      found[1], Reference.attentionBackward(dOutput: dOutput, queriesKeysValues: fused, shape),
      "queries, keys and values", sourceLocation: sourceLocation)
  }

  @Test("SwiGLU")
  func swiGLU() {
    let (gateUp, dY) = (random(3 * 10, seed: 8), random(3 * 5, seed: 9))
    let found = run([tensor(gateUp, 3, 10), tensor(dY, 3, 5)]) {
      let parts = $0[0].split(1, [5, 5])
      let activation = SwiGLU(gate: parts[0], up: parts[1])
      let (dGate, dUp) = activation.backward($0[1])
      return [activation.output, .concatenated([dGate, dUp], 1)]
    }
    expect(found[0], Reference.swiGLUForward(gateUp: gateUp, hidden: 5), "output")
    expect(found[1], Reference.swiGLUBackward(gateUp: gateUp, dOutput: dY, hidden: 5), "gates and ups")
  }

  @Test("cross-entropy, of large logits too")
  func crossEntropy() {
    let logits = random(4 * 9, seed: 10).map { $0 * 40 }
    let weights = [1, 0.5, -2, 3]
    let found = run([
      tensor(logits, 4, 9), HostTensor(integers: [0, 8, 3, 3], [4, 1]), tensor(weights, 4, 1),
    ]) {
      let entropy = CrossEntropy(logits: $0[0], targets: $0[1])
      return [entropy.losses, entropy.backward(weights: $0[2])]
    }
    let expected = Reference.softmaxCrossEntropy(
      logits: logits, targets: [0, 8, 3, 3], lossWeights: weights, gradientScale: 1, vocabulary: 9)
    expect(found[0], expected.losses, "losses")
    expect(found[1], expected.dLogits, "logits")
  }

  @Test(
    "a teacher's loss, at both ends of β and between them, of large logits too",
    arguments: [(0.3, 1.5, 0.0), (0, 1, 1), (0.25, 0.7, 0.5), (0, 3, 0.1), (1, 2, 0)], [1.0, 60])
  func distillation(settings: (textShare: Double, temperature: Double, mixture: Double), size: Double) {
    let (logits, teacher) = (random(4 * 9, seed: 20).map { $0 * size }, random(4 * 9, seed: 21).map { $0 * size })
    let weights = [1, 0.5, -2, 3]
    let distillation = Distillation(
      textShare: settings.textShare, temperature: settings.temperature, mixture: settings.mixture)
    let found = run([
      tensor(logits, 4, 9), tensor(teacher, 4, 9), HostTensor(integers: [0, 8, 3, 3], [4, 1]), tensor(weights, 4, 1),
    ]) {
      let loss = DistillationLoss(distillation, logits: $0[0], teacher: $0[1], targets: $0[2])
      return [loss.losses, loss.crossEntropies, loss.backward(weights: $0[3])]
    }
    // Far from each other, probabilities of Double are below what fp32 holds, and their logarithms below those of 1e-37.
    let expected = Reference.distillation(
      distillation, logits: logits, teacher: teacher, targets: [0, 8, 3, 3], lossWeights: weights, vocabulary: 9)
    expect(found[0], expected.losses, "losses")
    expect(found[1], expected.crossEntropies, "cross-entropies")
    expect(found[2], expected.dLogits, "logits")
  }

  @Test("embedding, with rows from elsewhere")
  func embedding() {
    let (table, outside, dY) = (random(6 * 3, seed: 11), random(4 * 3, seed: 12), random(4 * 3, seed: 13))
    let found = run([
      tensor(table, 6, 3), HostTensor(integers: [5, 2, 1, 5], [4]), tensor(outside, 4, 3), tensor(dY, 4, 3),
      HostTensor(TensorType(.boolean, [4, 1]), .booleans([false, false, true, false])),
    ]) {
      let embedding = Embedding(
        tokens: $0[1], table: $0[0], outside: Embedding.Outside(isOutside: $0[4], values: $0[2]))
      return [embedding.output, embedding.backward($0[3])]
    }
    var output = Reference.embeddingForward(tokens: [5, 2, 1, 5], table: table, width: 3)
    output.replaceSubrange(6..<9, with: outside[6..<9])
    expect(found[0], output, "output")
    expect(found[1], Reference.embeddingBackward(tokens: [5, 2, -1, 5], dOutput: dY, vocabulary: 6, width: 3), "table")
  }

  @Test("router and balance", arguments: [(4, 2, true), (3, 3, true), (5, 1, false), (6, 2, false)])
  func router(experts: Int, k: Int, normalizes: Bool) {
    let (x, matrix) = (random(7 * 3, seed: 14), random(experts * 3, seed: 15))
    let dWeights = random(7 * k, seed: 16)
    let documents: [Int32] = [0, 0, 0, 1, 1, 1, 1]
    let (documentWeights, alpha) = ([2.0, 0.5], 0.7)
    let scales = zip(documentWeights, [3.0, 4.0]).map { $0 * Double(experts) / (Double(k) * $1 * $1) }
    let found = run([
      tensor(x, 7, 3), tensor(matrix, experts, 3), tensor(dWeights, 7, k), HostTensor(integers: documents, [7]),
      tensor(scales, 2),
    ]) { inputs in
      let router = Router(inputs[0], inputs[1], expertsPerToken: k, normalizes: normalizes)
      let balance = ExpertBalance(router, documents: inputs[3], scales: inputs[4])
      let (dInput, dMatrix) = router.backward(
        dWeights: inputs[2].split(1, [Int](repeating: 1, count: k)), dProbabilities: balance.backward(weight: alpha))
      return [
        router.probabilities, .concatenated(router.weights, 1), balance.sum, balance.choices, dInput, dMatrix,
      ] + router.choices
    }
    let routing = Reference.routerForward(
      input: x, router: matrix, expertCount: experts, expertsPerToken: k, normalizes: normalizes, width: 3)
    expect(found[0], routing.probabilities, "probabilities")
    expect(found[1], routing.weights.flatMap { $0 }, "weights")
    for choice in 0..<k {
      let expected = routing.experts.flatMap { chosen in (0..<experts).map { $0 == chosen[choice] ? 1.0 : 0 } }
      expect(found[6 + choice], expected, "choice \(choice)")
    }
    var (sum, dProbabilities) = (0.0, [Double]())
    for (document, weight) in zip([0..<3, 3..<7], documentWeights) {
      sum += weight * Reference.expertBalance(routing, tokens: document, expertCount: experts)
      dProbabilities += Reference.expertBalanceBackward(routing, tokens: document, expertCount: experts)
        .map { $0 * weight * alpha }
    }
    expect(found[2], [sum], "balance")
    expect(
      found[3], (0..<experts).map { expert in Double(routing.experts.joined().filter { $0 == expert }.count) },
      "choices")
    let dLogits = Reference.routerBackward(
      routing, normalizes: normalizes, dWeights: (0..<7).map { Array(dWeights[$0 * k..<($0 + 1) * k]) },
      dProbabilities: dProbabilities)
    expect(
      found[4], Reference.multiply(dLogits, matrix, rows: 7, inner: experts, columns: 3), "input")
    expect(
      found[5], Reference.multiply(dLogits, aTransposed: true, x, rows: experts, inner: 7, columns: 3), "router")
  }

  @Test("equal probabilities choose the expert with the lower number")
  func ties() {
    let found = run([tensor([1, 2], 2, 1), tensor([1, 3, 3], 3, 1)]) {
      Router($0[0], $0[1], expertsPerToken: 2, normalizes: true).choices
    }
    #expect(found == [[0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]])
  }

  @Test("blocks of experts' rows hold every slot once, in blocks of its expert", arguments: 1...9)
  func expertBlocks(length: Int) {
    // Expert 1 is chosen by no token, expert 3 by all.
    let first: [Double] = [3, 3, 3, 3, 3, 3]
    let second: [Double] = [0, 2, 0, 0, 4, 2]
    func choices(_ experts: [Double]) -> HostTensor {
      tensor(experts.flatMap { expert in (0..<5).map { Double($0) == expert ? 1 : 0 } }, 6, 5)
    }
    let found = run([choices(first), choices(second), tensor((0..<6).map { 10.0 + Double($0) }, 6, 1)]) {
      let blocks = ExpertBlocks([$0[0], $0[1]], length: length)
      let rows = blocks.gather($0[2])
      let experts = blocks.expertOfBlock.float32.reshaped([blocks.count, 1, 1])
      // Each row's token, by its expert; 0 for rows without a slot.
      let marked = blocks.scatterBackward(blocks.scatter(experts * 100 + rows, choices: 2))
      return blocks.scatter(experts * 100 + rows, choices: 2) + [marked]
    }
    for (choice, experts) in [first, second].enumerated() {
      #expect(found[choice] == experts.enumerated().map { Float($1 * 100 + 10 + Double($0)) })
    }
    #expect(found[2].filter { $0 != 0 }.sorted() == (found[0] + found[1]).sorted())
    #expect(found[2].count == (12 / length + 5) * length)
  }

  @Test("products with an adapter, of one matrix and of many")
  func linear() {
    let (x, w, a, b) = (
      random(8 * 3, seed: 17), random(10 * 3, seed: 18), random(4 * 3, seed: 19), random(10 * 2, seed: 20)
    )
    let (bias, dY) = (random(5, seed: 21), random(8 * 5, seed: 22))
    let inputs = [
      tensor(x, 2, 4, 3), tensor(w, 2, 5, 3), tensor(a, 2, 2, 3), tensor(b, 2, 5, 2), tensor(dY, 2, 4, 5),
      tensor(bias, 5),
    ]
    let many = run(inputs) {
      let layer = Linear(
        $0[0], LinearWeight(matrix: $0[1], adapter: .init(a: $0[2], b: $0[3], scale: 0.7)), .float32)
      let (dInput, gradient) = layer.backward($0[4])
      return [layer.output, dInput, gradient.matrix, gradient.a!, gradient.b!]
    }
    for block in 0..<2 {
      func part(_ values: [Double]) -> [Double] {
        Array(values[block * values.count / 2..<(block + 1) * values.count / 2])
      }
      func part(_ values: [Float]) -> [Float] {
        Array(values[block * values.count / 2..<(block + 1) * values.count / 2])
      }
      let (x, w, a, b, dY) = (part(x), part(w), part(a), part(b), part(dY))
      func product(_ l: [Double], _ lt: Bool, _ r: [Double], _ rt: Bool, _ rows: Int, _ inner: Int, _ columns: Int)
        -> [Double]
      { Reference.multiply(l, aTransposed: lt, r, bTransposed: rt, rows: rows, inner: inner, columns: columns) }
      func sum(_ left: [Double], _ right: [Double], _ scale: Double) -> [Double] {
        zip(left, right).map { $0 + scale * $1 }
      }
      // The merged matrix W + s·B·A and its gradient say the same.
      let merged = sum(w, product(b, false, a, false, 5, 2, 3), 0.7)
      let dMerged = product(dY, true, x, false, 5, 4, 3)
      expect(part(many[0]), product(x, false, merged, true, 4, 3, 5), "output")
      expect(part(many[1]), product(dY, false, merged, false, 4, 5, 3), "dInput")
      expect(part(many[2]), dMerged, "matrix")
      expect(part(many[3]), product(b, true, dMerged, false, 2, 5, 3).map { $0 * 0.7 }, "A")
      expect(part(many[4]), product(dMerged, false, a, true, 5, 3, 2).map { $0 * 0.7 }, "B")
      let one = run([
        tensor(x, 4, 3), tensor(w, 5, 3), tensor(bias, 5), tensor(dY, 4, 5),
      ]) {
        let layer = Linear($0[0], LinearWeight(matrix: $0[1], bias: $0[2]), .float32)
        return [layer.output, layer.backward($0[3]).gradient.bias]
      }
      expect(one[0], zip(product(x, false, w, true, 4, 3, 5), 0...).map { $0 + bias[$1 % 5] }, "biased")
      expect(one[1], (0..<5).map { column in (0..<4).reduce(0) { $0 + dY[$1 * 5 + column] } }, "bias")
    }
  }
}
