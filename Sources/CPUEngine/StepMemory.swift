import Compute
import Machine
import Model

/// Working memory for the rows of a step, in fp32. A row is one token of one sequence.
final class StepMemory {
  /// The most rows of a step: enough for the products to run at full speed.
  static let rows = 640
  /// The most tokens of prompts in a step; the other rows are for sequences that are being written.
  static let promptRows = 512
  /// Rows of a worker that pass through a block of a layer together, so that what lies between stays in its cache.
  static let partRows = 128
  /// The most rows of logits that are there at a time.
  static let logitRows = 64

  let tokens: UnsafeMutablePointer<Int32>
  /// [rows] the row of the rotary table for each token.
  let rotaryRows: UnsafeMutablePointer<Int32>
  /// [rows, hidden] the residual stream.
  let stream: MatrixView
  /// [rows, query + 2·keyValue]
  let queriesKeysValues: MatrixView
  /// [rows, query] what attention found.
  let attended: MatrixView
  /// [rows, sharedIntermediate]
  let activated: MatrixView
  /// [rows · expertsPerToken, intermediate] of each token and expert that it takes; see `ExpertGroups`.
  let expertActivated: MatrixView
  /// [logitRows, hidden] the end of the stream, normalised.
  let final: MatrixView
  /// [logitRows, vocabulary]
  let logits: MatrixView
  let workers: [WorkerMemory]
  private let buffer: AlignedBuffer

  init(_ configuration: ModelConfiguration, page: PageShape, workers: Int) throws(OutOfMemoryError) {
    let rows = Self.rows
    var plan = ArenaPlan()
    // Integers, as wide as floats.
    let integers = plan.reserve(rows: 2, columns: rows)
    let stream = plan.reserve(rows: rows, columns: configuration.hiddenSize)
    // Attention, the feed-forward blocks and the logits take turns.
    let shared = plan.end
    let queriesKeysValues = plan.reserve(rows: rows, columns: configuration.querySize + 2 * configuration.keyValueSize)
    let attended = plan.reserve(rows: rows, columns: configuration.querySize)
    plan.reuse(from: shared)
    let activated = plan.reserve(rows: rows, columns: configuration.sharedIntermediateSize)
    let expertActivated = plan.reserve(
      rows: rows * configuration.expertsPerToken, columns: configuration.isMixture ? configuration.intermediateSize : 0)
    plan.reuse(from: shared)
    let final = plan.reserve(rows: Self.logitRows, columns: configuration.hiddenSize)
    let logits = plan.reserve(rows: Self.logitRows, columns: configuration.vocabularySize)
    buffer = try AlignedBuffer(plan)
    tokens = buffer.view(integers).row(0).assumingMemoryBound(to: Int32.self)
    rotaryRows = buffer.view(integers).row(1).assumingMemoryBound(to: Int32.self)
    self.stream = buffer.view(stream)
    self.queriesKeysValues = buffer.view(queriesKeysValues)
    self.attended = buffer.view(attended)
    self.activated = buffer.view(activated)
    self.expertActivated = buffer.view(expertActivated)
    self.final = buffer.view(final)
    self.logits = buffer.view(logits)
    var memories: [WorkerMemory] = []
    for _ in 0..<workers { memories.append(try WorkerMemory(configuration, page: page)) }
    self.workers = memories
  }
}

/// What one worker needs for itself.
final class WorkerMemory {
  /// [partRows, hidden] the stream, normalised.
  let normalized: MatrixView
  /// [partRows, hidden] the rows that take one expert, and what it makes of them.
  let gathered: MatrixView
  let expertOutput: MatrixView
  /// [partRows, 2·intermediate] gates and ups of the worker's columns, side by side.
  let gateUp: MatrixView
  let products: RowScratch
  let attention: PagedAttentionScratch
  /// Of the rows of each part, by the part's number; empty for a dense model.
  private(set) var groups: [ExpertGroups] = []
  private let buffer: AlignedBuffer

  init(_ configuration: ModelConfiguration, page: PageShape) throws(OutOfMemoryError) {
    let rows = StepMemory.partRows
    let intermediate = max(configuration.sharedIntermediateSize, configuration.intermediateSize)
    var plan = ArenaPlan()
    let normalized = plan.reserve(rows: rows, columns: configuration.hiddenSize)
    let gathered = plan.reserve(rows: rows, columns: configuration.isMixture ? configuration.hiddenSize : 0)
    let expertOutput = plan.reserve(rows: rows, columns: configuration.isMixture ? configuration.hiddenSize : 0)
    let gateUp = plan.reserve(rows: rows, columns: 2 * intermediate)
    buffer = try AlignedBuffer(plan)
    self.normalized = buffer.view(normalized)
    self.gathered = buffer.view(gathered)
    self.expertOutput = buffer.view(expertOutput)
    self.gateUp = buffer.view(gateUp)
    products = try RowScratch(
      rows: rows, columns: max(configuration.hiddenSize, configuration.querySize, intermediate))
    attention = try PagedAttentionScratch(
      page, groupSize: configuration.headCount / configuration.keyValueHeadCount)
    guard configuration.isMixture else { return }
    for _ in 0..<(StepMemory.rows + rows - 1) / rows {
      groups.append(try ExpertGroups(rows: rows, configuration))
    }
  }
}
