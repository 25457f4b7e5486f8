import Compute
import Model

extension CPUInferenceEngine {
  /// Every row's arithmetic is its own: its bits depend neither on the other rows nor on how a sequence's rows are shared
  /// out among steps and workers.
  package func step(_ pieces: [StepPiece], onOutput: (_ piece: Int, _ row: Int, Span<Float>) -> Void) {
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

  /// Writes the tokens of all pieces and the rows of their rotary table, piece after piece; rows that do not come from the
  /// embedding table have -1 for their token, and go into the residual stream here.
  ///
  /// - Returns: how many there are.
  private func layOut(_ pieces: [StepPiece]) -> Int {
    var row = 0
    for piece in pieces {
      let cache = piece.cache
      let positions = cache.count..<cache.count + piece.tokens.count
      precondition(
        cache.pool.memory is CPUKeyValuePages && row + piece.tokens.count <= StepMemory.rows
          && cache.missingPages(for: piece.tokens.count) <= 0
          && positions.upperBound <= contextLength,
        "\(piece.tokens.count) tokens at \(cache.count) in row \(row), a context of \(contextLength)")
      let firstRotaryRow =
        piece.promptLength.map { rotaryTable.firstRow(of: positions, length: $0, place: row) } ?? positions.lowerBound
      for (index, token) in piece.tokens.enumerated() {
        memory.tokens[row + index] = token
        memory.rotaryRows[row + index] = Int32(firstRotaryRow + index)
      }
      for span in cache.embedded {
        for position in span.rows.clamped(to: positions) {
          let target = row + position - positions.lowerBound
          memory.tokens[target] = -1
          span.values(ofRow: position).withUnsafeBufferPointer {
            memory.stream.rows(target..<target + 1).floats.update(from: $0.baseAddress!, count: $0.count)
          }
        }
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
