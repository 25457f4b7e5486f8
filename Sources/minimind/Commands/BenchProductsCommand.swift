import Compute
import Machine
import Model
import Storage

/// `minimind bench products`: the rate of each matrix product of a training step.
let benchProductsCommand: Command = {
  let model = Option.text(
    "model", "NAME|FILE", default: "small",
    help: "\(ModelConfiguration.names.joined(separator: ", ")), or a config.json.")
  let rows = Option.integer("rows", default: 2048, in: 64...1 << 16, help: "Tokens, over all threads.")
  return Command(
    "bench", "products", summary: "measures the matrix products that training consists of",
    options: [model, rows, Option.json, Option.threads], example: "minimind bench products --model small"
  ) { invocation in
    let configuration = try modelConfiguration(invocation[model])
    let threads = threadCount(invocation)
    guard threads <= invocation[rows] else {
      throw UsageError("--rows \(invocation[rows]) cannot be shared out over \(threads) threads. Lower --threads.")
    }
    let result = try ProductsBenchmark(configuration, rows: invocation[rows], threads: threads)
    if invocation[Option.json] {
      try printJSON(result)
    } else {
      try Console.standardOutput.write(result.table)
    }
  }
}()

/// The configuration that a `--model` names: one of ours, or a config.json.
func modelConfiguration(_ name: String) throws -> ModelConfiguration {
  name.hasSuffix(".json") ? try ModelConfiguration(huggingFaceConfig: name) : try ModelConfiguration.named(name)
}

private struct ProductsBenchmark: Encodable {
  struct Row: Encodable {
    var name: String
    /// rows, inner, columns: of one thread.
    var shape: [Int]
    var gigaflopsPerSecond: [String: Double]

    enum CodingKeys: String, CodingKey {
      case name, shape
      case gigaflopsPerSecond = "gigaflops_per_second"
    }
  }

  let threads: Int
  let products: [Row]

  /// One product: y = x·Wᵀ, dx = dy·W, or W += dyᵀ·x.
  private enum Kind { case forward, backward, weight }

  init(_ shape: ModelConfiguration, rows: Int, threads: Int) throws {
    self.threads = threads
    let team = WorkerTeam(count: threads)
    var matrices = [
      ("queries, keys, values", rows, shape.querySize + 2 * shape.keyValueSize, shape.hiddenSize),
      ("attention output", rows, shape.hiddenSize, shape.querySize),
      ("gate and up", rows, 2 * shape.sharedIntermediateSize, shape.hiddenSize),
      ("down", rows, shape.hiddenSize, shape.sharedIntermediateSize),
      ("logits", rows, shape.vocabularySize, shape.hiddenSize),
    ]
    if shape.isMixture {
      // As many tokens as an expert has when all have the same.
      let tokens = max(threads, rows * shape.expertsPerToken / shape.expertCount)
      matrices += [
        ("an expert's gate and up", tokens, 2 * shape.intermediateSize, shape.hiddenSize),
        ("an expert's down", tokens, shape.hiddenSize, shape.intermediateSize),
      ]
    }
    var products: [Row] = []
    for (name, rows, outputs, inputs) in matrices where outputs > 0 && inputs > 0 {
      for (kind, suffix) in [(Kind.forward, ""), (.backward, ", gradient of the input"), (.weight, ", of the weight")] {
        let mine = rows / threads
        let sizes =
          switch kind {
          case .forward: [mine, inputs, outputs]
          case .backward: [mine, outputs, inputs]
          case .weight: [(outputs + threads - 1) / threads, rows, inputs]
          }
        var rates: [String: Double] = [:]
        for type in ElementType.allCases { rates[type.rawValue] = try Self.measure(kind, sizes, type, team) }
        products.append(Row(name: name + suffix, shape: sizes, gigaflopsPerSecond: rates))
      }
    }
    self.products = products
  }

  /// GFLOP/s of all workers together, each computing the same product on memory of its own.
  private static func measure(_ kind: Kind, _ sizes: [Int], _ type: ElementType, _ team: WorkerTeam) throws -> Double {
    let (rows, inner, columns) = (sizes[0], sizes[1], sizes[2])
    var buffers: [AlignedBuffer] = []
    for _ in 0..<team.count {
      for count in [rows * inner, inner * columns, rows * columns] {
        buffers.append(try AlignedBuffer(byteCount: 4 * count))
      }
    }
    func compute(repetitions: Int) {
      team.run { worker in
        let a = MatrixView(
          buffers[3 * worker].base, rows: kind == .weight ? inner : rows, columns: kind == .weight ? rows : inner,
          type: type)
        let b = MatrixView(
          buffers[3 * worker + 1].base, rows: kind == .forward ? columns : inner,
          columns: kind == .forward ? inner : columns, type: type)
        let c = MatrixView(
          buffers[3 * worker + 2].base, rows: rows, columns: columns, type: kind == .forward ? type : .float32)
        for _ in 0..<repetitions {
          team.products[worker].multiply(
            a, aTransposed: kind == .weight, b, bTransposed: kind == .forward, into: c, accumulates: kind == .weight)
        }
      }
    }
    compute(repetitions: 2)
    var best = 0.0
    for _ in 0..<5 {
      let seconds = measuredSeconds { compute(repetitions: 4) }
      best = max(best, Double(2 * rows * inner * columns * 4 * team.count) / seconds / 1e9)
    }
    return best
  }

  var table: String {
    var table = TextTable([("product", .left), ("rows × inner × columns", .left), ("bf16", .right), ("fp32", .right)])
    for row in products {
      func rate(_ type: ElementType) -> String { formatNumber(row.gigaflopsPerSecond[type.rawValue]!.rounded()) }
      table.add([
        row.name, row.shape.map(String.init).joined(separator: " × "), rate(.bfloat16), rate(.float32),
      ])
    }
    return table.render() + "GFLOP/s of \(threads) threads together; the shapes are those of one thread.\n"
  }
}
