import Compute
import Model

/// Another model that a pass learns from: its pass, of the same team, vocabulary and number of tokens, without gradients; or nil,
/// where what it said of the rows comes with the batch.
struct Teacher {
  let pass: TrainingPass?
  let distillation: Distillation
}

extension TrainingPass {
  /// The losses of the rows that have one, in chunks: the logits of all tokens are never in memory at once.
  ///
  /// With gradients, each chunk also adds to the gradient of the output matrix, and `dNormalized` becomes the gradient of
  /// the normalised output for every row (zero where there is no loss).
  ///
  /// - Parameters:
  ///   - teacher: what a part of the loss comes from, with this batch in its layers already; only with gradients.
  ///   - values: what gives the rows a value as well.
  func outputLoss(_ worker: Int, findsGradients: Bool, teacher: Teacher? = nil, values: ValuePass? = nil) {
    if findsGradients {
      let rows = view(plan.dNormalized).rows(rows(of: worker))
      rows.floats.update(repeating: 0, count: rows.rows * rows.columns)
      lap(.copies, worker)
    }
    // The rows with a loss are divided again: a worker's may come from another's tokens.
    meet(worker)
    let chunkRows = ActivationPlan.lossRowsPerWorker(shape, workers: team.count) * team.count
    for start in stride(from: 0, to: batch.paddedLossCount, by: chunkRows) {
      let count = min(chunkRows, batch.paddedLossCount - start)
      let mine = team.share(of: count, worker: worker, multiple: PassBatch.rowMultiple)
      chunkLoss(worker, start: start, rows: mine, findsGradients: findsGradients, teacher: teacher, values: values)
      // A smaller last chunk is divided in another way, in places of the logits that others may still be reading.
      meet(worker)
      guard findsGradients, let weightGradients, learning.trainsOutsideLayers else { continue }
      // Wout += dLogitsᵀ·h over all rows of the chunk, each worker for its part of the vocabulary.
      let vocabulary = team.share(of: shape.outputSize, worker: worker, multiple: PassBatch.rowMultiple)
      if !vocabulary.isEmpty {
        multiply(
          worker, chunk(plan.dLogits, 0..<count).columns(vocabulary), aTransposed: true,
          view(plan.lossRows).rows(start..<start + count), into: weightGradients.output.rows(vocabulary),
          accumulates: true)
      }
      meet(worker)
    }
  }

  /// z = h·Woutᵀ, loss and dz, softmax(z) - onehot without a teacher;  dh = dz·Wout. `rows` counts from the chunk's start.
  private func chunkLoss(
    _ worker: Int, start: Int, rows: Range<Int>, findsGradients: Bool, teacher: Teacher?, values: ValuePass?
  ) {
    guard !rows.isEmpty else { return }
    let first = start + rows.lowerBound
    let dLogits = chunk(plan.dLogits, rows)
    let logits = chunkLogits(worker, start: start, rows: rows)
    if shape.scoresTexts {
      scoreLoss(logits, first: first, dLogits: findsGradients ? dLogits : nil)
    } else if let teacher {
      taughtLoss(logits, teacher.pass?.chunkLogits(worker, start: start, rows: rows), teacher, first: first, dLogits)
    } else {
      softmaxCrossEntropy(
        logits: logits, targets: batch.targets + first, lossWeights: batch.lossWeights + first,
        losses: batch.losses + first, dLogits: findsGradients ? dLogits : nil)
    }
    let lossRows = view(plan.lossRows).rows(first..<start + rows.upperBound)
    if !findsGradients { values?.forward(lossRows, first: first) }
    lap(.loss, worker)
    guard findsGradients else { return }
    // The residual stream's gradient begins only after the loss: until then its place holds these rows.
    let dRows = view(plan.dResidual).rows(first..<start + rows.upperBound)
    multiply(worker, dLogits, weights.output, into: dRows)
    values?.backward(worker, lossRows, first: first, dRows: dRows)
    scatterRows(dRows, batch.lossRows + first, into: view(plan.dNormalized))
    lap(.copies, worker)
  }

  /// The losses of a chunk by a teacher's logits, or by what it has said before.
  private func taughtLoss(
    _ logits: MatrixView, _ teacherLogits: MatrixView?, _ teacher: Teacher, first: Int, _ dLogits: MatrixView
  ) {
    guard let count = teacher.distillation.top else {
      guard let teacherLogits else { preconditionFailure("a teacher without logits and without its likeliest tokens") }
      return distillationLoss(
        teacher.distillation, logits: logits, teacher: teacherLogits, targets: batch.targets + first,
        lossWeights: batch.lossWeights + first, losses: batch.losses + first,
        crossEntropies: batch.crossEntropies + first, dLogits: dLogits)
    }
    func loss(_ tokens: UnsafePointer<Int32>, _ logarithms: UnsafePointer<Float>) {
      distillationLoss(
        teacher.distillation, logits: logits, tokens: tokens, logarithms: logarithms, count: count,
        targets: batch.targets + first, lossWeights: batch.lossWeights + first, losses: batch.losses + first,
        crossEntropies: batch.crossEntropies + first, dLogits: dLogits)
    }
    guard let teacherLogits else {
      guard let said = batch.teacherRows else { preconditionFailure("a batch without what its teacher said") }
      // Rows beyond these are padding, of weight 0.
      return said.tokens.withUnsafeBufferPointer { tokens in
        said.logarithms.withUnsafeBufferPointer { logarithms in
          loss(tokens.baseAddress! + first * count, logarithms.baseAddress! + first * (count + 1))
        }
      }
    }
    let rows = logits.rows
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: rows * count) { tokens in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: rows * (count + 1)) { logarithms in
        for row in 0..<rows where batch.lossWeights[first + row] != 0 {
          largestProbabilities(
            teacherLogits.row(row).assumingMemoryBound(to: Float.self), vocabulary: teacherLogits.columns, count: count,
            temperature: teacher.distillation.temperature, tokens: tokens.baseAddress! + row * count,
            logarithms: logarithms.baseAddress! + row * (count + 1))
        }
        loss(tokens.baseAddress!, logarithms.baseAddress!)
      }
    }
  }

  /// A reward model's loss is minus the score, so that an objective treats scores as others do log-probabilities.
  private func scoreLoss(_ scores: MatrixView, first: Int, dLogits: MatrixView?) {
    for row in 0..<scores.rows {
      batch.losses[first + row] = -scores.floats[row * scores.rowStride]
      guard let dLogits else { continue }
      let weight = -batch.lossWeights[first + row]
      switch dLogits.type {
      case .float32: dLogits.row(row).storeBytes(of: weight, as: Float.self)
      case .bfloat16: dLogits.row(row).storeBytes(of: BFloat16(weight), as: BFloat16.self)
      }
    }
  }

  /// z = h·Woutᵀ of some of the rows that have a loss.
  private func chunkLogits(_ worker: Int, start: Int, rows: Range<Int>) -> MatrixView {
    let first = start + rows.lowerBound
    let lossRows = view(plan.lossRows).rows(first..<start + rows.upperBound)
    gatherRows(view(plan.normalizedOutput), batch.lossRows + first, into: lossRows)
    lap(.copies, worker)
    let logits = chunk(plan.logits, rows)
    multiply(worker, lossRows, weights.output, bTransposed: true, into: logits)
    return logits
  }

  /// Rows of the logits' places, which hold one chunk.
  private func chunk(_ slot: ArenaSlot, _ rows: Range<Int>) -> MatrixView { arena.view(slot).rows(rows) }
}
