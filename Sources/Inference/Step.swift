import Compute

/// What one sequence contributes to a step: its next tokens.
struct StepPiece {
  enum Output {
    case nothing
    /// The logits behind the last token, or behind each.
    case lastLogits
    case allLogits
    /// The final hidden state of each token, normalised by the model's last norm.
    case hiddenStates
  }

  let cache: KeyValueCache
  /// At least one; the cache has room for them, and the pages.
  let tokens: ArraySlice<Int32>
  /// The tokens of the whole prompt, where the tokens belong to it: with dynamic rotary scaling it decides how they turn.
  /// Nil for tokens that the model wrote, which turn as the end of what is there.
  let promptLength: Int?
  let output: Output

  init(_ cache: KeyValueCache, _ tokens: ArraySlice<Int32>, promptLength: Int?, _ output: Output) {
    self.cache = cache
    self.tokens = tokens
    self.promptLength = promptLength
    self.output = output
  }
}

/// The part of a step's rows, and of each product's columns, that a worker computes. Nothing in the result depends on
/// how work is shared out.
struct StepShare {
  let worker: Int
  let rows: Range<Int>
  private let team: WorkerTeam
  private let splitsRows: Bool

  init(_ team: WorkerTeam, worker: Int, rowCount: Int) {
    self.team = team
    self.worker = worker
    // Many rows keep the processor busy with arithmetic, and each worker takes some of them. Few wait for the weights, so
    // that each worker takes some of those.
    splitsRows = rowCount >= 32 * team.count
    rows = splitsRows ? team.share(of: rowCount, worker: worker, multiple: 8) : 0..<rowCount
  }

  /// The worker's columns of a product that has so many.
  func columns(of total: Int) -> Range<Int> {
    if splitsRows { return 0..<total }
    let columns = team.share(of: total, worker: worker, multiple: WeightType.tileRows)
    return columns.isEmpty ? 0..<0 : columns
  }

  /// The worker's rows where every row is to be taken by one worker only.
  func ownRows(of total: Int) -> Range<Int> { splitsRows ? rows : team.share(of: total, worker: worker) }

  /// The worker's rows in parts, with their number.
  func forEachPart(_ body: (_ index: Int, _ rows: Range<Int>) -> Void) {
    for (index, start) in stride(from: rows.lowerBound, to: rows.upperBound, by: StepMemory.partRows).enumerated() {
      body(index, start..<min(rows.upperBound, start + StepMemory.partRows))
    }
  }
}

extension InferenceModel {
  /// Takes the next tokens of some sequences through all layers: their keys and values go into the caches.
  ///
  /// Every row's arithmetic is its own: its bits depend neither on the other rows nor on how a sequence's tokens are shared
  /// out among steps.
  ///
  /// - Parameters:
  ///   - pieces: of different sequences, no more than `StepMemory.rows` tokens together.
  ///   - onOutput: called in the calling thread with the number of a piece, that of a token in it, and what the piece
  ///     asks for, [vocabulary] or [hidden]; in the order of pieces and tokens.
  func step(
    _ pieces: [StepPiece], onOutput: (_ piece: Int, _ token: Int, Span<Float>) -> Void = { _, _, _ in }
  ) {
    let rowCount = layOut(pieces)
    team.run { worker in
      let share = StepShare(team, worker: worker, rowCount: rowCount)
      embed(share, rowCount)
      team.barrier()
      for layer in 0..<configuration.layerCount {
        projectQueriesKeysValues(layer, share)
        team.barrier()
        attend(layer, worker, pieces)
        team.barrier()
        addAttention(layer, share)
        team.barrier()
        activate(layer, share)
        team.barrier()
        addFeedForward(layer, share)
        team.barrier()
      }
    }
    for piece in pieces { piece.cache.append(piece.tokens) }
    produce(pieces, onOutput)
  }

  /// Writes the tokens of all pieces and the rows of their rotary table, piece after piece.
  ///
  /// - Returns: how many there are.
  private func layOut(_ pieces: [StepPiece]) -> Int {
    var row = 0
    for piece in pieces {
      let cache = piece.cache
      let positions = cache.count..<cache.count + piece.tokens.count
      precondition(
        row + piece.tokens.count <= StepMemory.rows && cache.missingPages(for: piece.tokens.count) <= 0
          && positions.upperBound <= contextLength,
        "\(piece.tokens.count) tokens at \(cache.count) in row \(row), a context of \(contextLength)")
      let firstRotaryRow =
        piece.promptLength.map { rotaryTable.firstRow(of: positions, length: $0, place: row) } ?? positions.lowerBound
      for (index, token) in piece.tokens.enumerated() {
        memory.tokens[row + index] = token
        memory.rotaryRows[row + index] = Int32(firstRotaryRow + index)
      }
      row += piece.tokens.count
    }
    return row
  }

  /// What the pieces ask for, some rows at a time.
  private func produce(_ pieces: [StepPiece], _ onOutput: (_ piece: Int, _ token: Int, Span<Float>) -> Void) {
    var wanted: [(piece: Int, token: Int, row: Int)] = []
    var first = 0
    for (index, piece) in pieces.enumerated() {
      let count = piece.tokens.count
      switch piece.output {
      case .nothing: break
      case .lastLogits: wanted.append((index, count - 1, first + count - 1))
      case .allLogits, .hiddenStates: for token in 0..<count { wanted.append((index, token, first + token)) }
      }
      first += count
    }
    for start in stride(from: 0, to: wanted.count, by: StepMemory.logitRows) {
      let part = wanted[start..<min(start + StepMemory.logitRows, wanted.count)]
      let final = memory.final.rows(0..<part.count)
      for (index, entry) in part.enumerated() {
        rmsNormForward(
          input: memory.stream.rows(entry.row..<entry.row + 1), weight: weights.outputNorm,
          epsilon: configuration.rmsNormEpsilon, output: final.rows(index..<index + 1), reciprocalRootMeanSquare: nil)
      }
      let logits = memory.logits.rows(0..<part.count)
      if part.contains(where: { pieces[$0.piece].output.isLogits }) {
        team.run { worker in
          let columns = team.share(of: weights.output.rows, worker: worker, multiple: WeightType.tileRows)
          guard !columns.isEmpty else { return }
          let input = memory.workers[worker].products.prepare(final, for: weights.type)
          multiplyRows(weights.output.rows(columns), input, into: logits.columns(columns))
        }
      }
      for (index, entry) in part.enumerated() {
        let view = pieces[entry.piece].output.isLogits ? logits : final
        let row = UnsafeBufferPointer(start: view.rows(index..<index + 1).floats, count: view.columns)
        onOutput(entry.piece, entry.token, row.span)
      }
    }
  }
}

extension StepPiece.Output {
  var isLogits: Bool { self == .lastLogits || self == .allLogits }
}
