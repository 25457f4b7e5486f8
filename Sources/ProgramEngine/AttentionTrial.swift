import Model
import Programs
import Storage

/// Both forms of attention on a device, with the same numbers: whether its kernel can be trusted, and how fast each is.
package struct AttentionTrial {
  /// Tokens include padding.
  let shape: AttentionShape
  /// Of documents.
  private let lengths: [Int]

  /// A small case: documents of several lengths, of which some begin and end inside of a kernel's blocks, and padding.
  ///
  /// - Parameters:
  ///   - heads: of queries; `groups` of keys.
  ///   - size: numbers of a head.
  package init(heads: Int, groups: Int, size: Int, _ element: TensorElement) {
    shape = AttentionShape(tokens: 512, heads: heads, groups: groups, size: size, element)
    lengths = [1, 150, 63, 64, 17, 128]
  }

  /// Documents of one length, as many as there is room for.
  package init(_ shape: AttentionShape, documentLength: Int) {
    self.shape = shape
    lengths = Array(repeating: documentLength, count: shape.tokens / documentLength)
  }

  /// Of rounded numbers each of a few hundred products is off by 2⁻⁹ of itself, in another place in each form.
  private var tolerance: Double { shape.element == .bfloat16 ? 0.02 : 1e-4 }

  /// - Throws: what the device throws.
  package func verdict(on runner: some ProgramRunner) throws -> AttentionVerdict {
    let inputs = try inputs.map { try runner.upload($0) }
    func outputs(_ form: AttentionForm) throws -> [[Float]] {
      let loaded = try runner.load(program(form, replicas: runner.replicas))
      return try runner.run(loaded, inputs).map { try runner.download($0).floats }
    }
    let (composed, found, again) = (try outputs(.composed), try outputs(.kernel), try outputs(.kernel))
    guard zip(found, again).allSatisfy({ zip($0, $1).allSatisfy { $0.bitPattern == $1.bitPattern } }) else {
      return .fails(reason: "two runs of it give different numbers")
    }
    let differences = zip(found, composed).map { found, composed in
      let largest = composed.reduce(0) { max($0, abs($1)) }
      return zip(found, composed).reduce(0) { $1.0.isFinite ? max($0, Double(abs($1.0 - $1.1) / largest)) : .infinity }
    }
    let difference = differences.max()!
    return difference <= tolerance
      ? .works(difference: difference)
      : .fails(reason: "it differs by \(Float(difference)) of the largest number from the composed one")
  }

  /// Seconds that attention takes forward and backward, the median of five runs.
  ///
  /// - Throws: what the device throws.
  package func seconds(_ form: AttentionForm, on runner: some ProgramRunner) throws -> Double {
    let inputs = try inputs.map { try runner.upload($0) }
    let loaded = try runner.load(program(form, replicas: runner.replicas))
    let clock = ContinuousClock()
    let times = try (0..<6).map { _ in
      try clock.measure { _ = try runner.run(loaded, inputs) } / .seconds(1)
    }
    // The first may have something to prepare.
    return times.dropFirst().sorted()[2]
  }

  /// Output and gradients of the documents' tokens.
  private func program(_ form: AttentionForm, replicas: Int) -> Program {
    let builder = ProgramBuilder(replicas: replicas)
    func input(_ name: String, _ heads: Int) -> Tensor {
      builder.input(name, TensorType(.float32, [shape.tokens, heads, shape.size]))
    }
    let (queries, keys, values) = (
      input("queries", shape.heads), input("keys", shape.groups), input("values", shape.groups)
    )
    let dOutput = input("output's gradient", shape.heads)
    let documents = builder.input("documents", TensorType(.int32, [shape.tokens]))
    var longest = 1
    while longest < lengths.max()! { longest *= 2 }
    let blocks = DocumentBlocks(
      documents: documents, length: ProgramSizes().attentionBlock(longest: longest), longest: longest)
    let attention = form.of(queries: queries, keys: keys, values: values, in: blocks, shape.element)
    let (dQueries, dKeys, dValues) = attention.backward(
      dOutput.reshaped([shape.tokens, shape.heads * shape.size]))
    let all = [attention.output, dQueries, dKeys, dValues]
    return builder.program(all.map { $0.slice(0, 0..<lengths.reduce(0, +)) })
  }

  private var inputs: [HostTensor] {
    var generator = SplitMix64(seed: 1)
    func random(_ heads: Int) -> HostTensor {
      let count = shape.tokens * heads * shape.size
      return HostTensor(
        (0..<count).map { _ in Float.random(in: -2...2, using: &generator) }, [shape.tokens, heads, shape.size])
    }
    let documents = lengths.enumerated().flatMap { [Int32](repeating: Int32($0), count: $1) }
    let padding = [Int32](repeating: Int32(shape.tokens), count: shape.tokens - documents.count)
    return [
      random(shape.heads), random(shape.groups), random(shape.groups), random(shape.heads),
      HostTensor(integers: documents + padding, [shape.tokens]),
    ]
  }
}
