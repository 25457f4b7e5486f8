/// Which experts the tokens of a batch take in one layer of a mixture, and in which row of the experts' matrices each
/// of them is.
///
/// The experts' matrices have a row for each token and expert that it takes: expert after expert, within an expert worker
/// after worker, so that a worker finds the rows of its own tokens together and the gradient of an expert's weights is
/// one product over all of them. A worker's rows of an expert are rounded up to a multiple of `rowMultiple`, so that the
/// products of a run have few shapes; what is added are rows of zeros.
///
/// This is a view of memory that its caller owns. Each worker writes the parts of its own tokens; between `choose` and
/// `place` all workers must have met.
package struct ExpertRouting {
  package static let rowMultiple = 16

  package let expertCount: Int
  package let expertsPerToken: Int
  /// Whether the weights of a token's experts are divided by their sum.
  private let normalizes: Bool
  private let workers: Int
  /// float32, [tokens, experts] the router's softmax.
  package let probabilities: MatrixView
  /// [tokens, k] the chosen experts, how much each counts, and their row among the experts' rows.
  package let experts: UnsafeMutablePointer<Int32>
  package let weights: UnsafeMutablePointer<Float>
  package let places: UnsafeMutablePointer<Int32>
  /// [rowCapacity] the token of each of the experts' rows, -1 for none, and how much its expert counts for it.
  package let rowTokens: UnsafeMutablePointer<Int32>
  package let rowWeights: UnsafeMutablePointer<Float>
  /// [workers, experts] tokens of each worker that take each expert.
  private let counts: UnsafeMutablePointer<Int32>

  /// The most rows that the experts of a batch of `tokens` can need together.
  package static func rowCapacity(tokens: Int, expertCount: Int, expertsPerToken: Int, workers: Int) -> Int {
    // With a multiple of rowMultiple for each pair, at most rowMultiple - 1 rows are added to each.
    tokens * expertsPerToken + expertCount * workers * (rowMultiple - 1)
  }

  /// Bytes of memory that the routing of `tokens` takes.
  package static func byteCount(tokens: Int, expertCount: Int, expertsPerToken: Int, workers: Int) -> Int {
    let rows = rowCapacity(tokens: tokens, expertCount: expertCount, expertsPerToken: expertsPerToken, workers: workers)
    return 4 * (tokens * expertCount + 3 * tokens * expertsPerToken + 2 * rows + workers * expertCount)
  }

  /// - Parameter base: `byteCount` bytes for these sizes, aligned to 4.
  package init(
    _ base: UnsafeMutableRawPointer, tokens: Int, expertCount: Int, expertsPerToken: Int, normalizes: Bool = true,
    workers: Int
  ) {
    self.normalizes = normalizes
    self.expertCount = expertCount
    self.expertsPerToken = expertsPerToken
    self.workers = workers
    var next = base
    func take<Number>(_ count: Int, _: Number.Type) -> UnsafeMutablePointer<Number> {
      defer { next += 4 * count }
      return next.assumingMemoryBound(to: Number.self)
    }
    let rows = Self.rowCapacity(
      tokens: tokens, expertCount: expertCount, expertsPerToken: expertsPerToken, workers: workers)
    probabilities = MatrixView(take(tokens * expertCount, Float.self), rows: tokens, columns: expertCount)
    experts = take(tokens * expertsPerToken, Int32.self)
    weights = take(tokens * expertsPerToken, Float.self)
    places = take(tokens * expertsPerToken, Int32.self)
    rowTokens = take(rows, Int32.self)
    rowWeights = take(rows, Float.self)
    counts = take(workers * expertCount, Int32.self)
  }

  /// Routes a worker's tokens.
  ///
  /// - Parameters:
  ///   - tokens: the worker's.
  ///   - input: their rows, [tokens, n], of either type.
  ///   - router: float32, [experts, n].
  package func choose(worker: Int, tokens: Range<Int>, input: MatrixView, router: MatrixView) {
    routerForward(
      input: input, router: router, probabilities: probabilities.rows(tokens), expertsPerToken: expertsPerToken,
      normalizes: normalizes, experts: experts + tokens.lowerBound * expertsPerToken,
      weights: weights + tokens.lowerBound * expertsPerToken)
    let mine = counts + worker * expertCount
    mine.update(repeating: 0, count: expertCount)
    for slot in tokens.lowerBound * expertsPerToken..<tokens.upperBound * expertsPerToken {
      mine[Int(experts[slot])] += 1
    }
  }

  /// Gives each of a worker's tokens its rows.
  package func place(worker: Int, tokens: Range<Int>) {
    for expert in 0..<expertCount {
      let rows = rows(of: expert, worker: worker)
      var row = rows.lowerBound
      for token in tokens {
        for slot in token * expertsPerToken..<(token + 1) * expertsPerToken where Int(experts[slot]) == expert {
          places[slot] = Int32(row)
          rowTokens[row] = Int32(token)
          rowWeights[row] = weights[slot]
          row += 1
        }
      }
      for row in row..<rows.upperBound {
        rowTokens[row] = -1
        rowWeights[row] = 0
      }
    }
  }

  /// The rows of an expert: all workers' tokens that take it.
  package func rows(of expert: Int) -> Range<Int> {
    rows(of: expert, worker: 0).lowerBound..<rows(of: expert, worker: workers - 1).upperBound
  }

  /// The rows of an expert that belong to a worker's tokens.
  package func rows(of expert: Int, worker: Int) -> Range<Int> {
    var start = 0
    for earlier in 0..<expert {
      for other in 0..<workers { start += paddedCount(earlier, other) }
    }
    for other in 0..<worker { start += paddedCount(expert, other) }
    return start..<start + paddedCount(expert, worker)
  }

  private func paddedCount(_ expert: Int, _ worker: Int) -> Int {
    (Int(counts[worker * expertCount + expert]) + Self.rowMultiple - 1) / Self.rowMultiple * Self.rowMultiple
  }

  /// The gradient of a worker's router logits, from those of the experts' weights.
  ///
  /// - Parameters:
  ///   - dRowWeights: [rowCapacity] the gradient of `rowWeights`.
  ///   - dLogits: float32, [tokens of the batch, experts]; the worker's rows: in, the gradient of the probabilities that
  ///     comes from elsewhere; out, that of the logits.
  package func backward(tokens: Range<Int>, dRowWeights: UnsafePointer<Float>, dLogits: MatrixView) {
    let slot = tokens.lowerBound * expertsPerToken
    routerBackward(
      probabilities: probabilities.rows(tokens), expertsPerToken: expertsPerToken, normalizes: normalizes,
      experts: experts + slot, weights: weights + slot, places: places + slot, dWeights: dRowWeights,
      dLogits: dLogits.rows(tokens))
  }
}
