import Compute
import Machine
import Model

/// The batch that a pass is working on: packed documents, padded to rows that divide evenly among the workers.
///
/// The padding is one more document, of zeros without loss: nothing looks at it, and no kernel has to know of it.
/// Memory is taken once, for the largest batch.
final class PassBatch {
  /// Workers own rows in units of this, so that a product has few different shapes over a run.
  static let rowMultiple = 32

  let capacity: Int
  private(set) var rows = 0
  private(set) var tokenCount = 0
  /// Documents, the padding's included.
  private(set) var documentCount = 0
  /// [rows] ids, and the row of the rotary table for each: its place in its document.
  let tokens: UnsafeMutablePointer<Int32>
  let rotaryRows: UnsafeMutablePointer<Int32>
  /// [documents + 1] where documents begin, the padding's included.
  private let documentOffsets: UnsafeMutablePointer<Int32>
  /// Rows whose values do not come from the embedding table.
  private(set) var embedded: [EmbeddedSpan] = []
  /// Rows that are pictures', each of rowsPerPicture.
  private(set) var pictures: [Range<Int>] = []
  /// [documents] how much each document counts, in what is not a loss of its tokens; the padding's 0.
  let documentWeights: UnsafeMutablePointer<Float>
  /// [lossCount] the rows that have a loss, then as many -1 as make the number even for the workers.
  let lossRows: UnsafeMutablePointer<Int32>
  private(set) var lossCount = 0
  private(set) var paddedLossCount = 0
  /// [paddedLossCount] what those rows are to predict, how much each counts, and the losses found, in nats.
  let targets: UnsafeMutablePointer<Int32>
  let lossWeights: UnsafeMutablePointer<Float>
  let losses: UnsafeMutablePointer<Float>
  /// [paddedLossCount] the cross-entropy alone, where a teacher's part is in the losses.
  let crossEntropies: UnsafeMutablePointer<Float>
  /// What a teacher has said of the rows that have a loss, in their order; set for a pass that learns from that.
  private(set) var teacherRows: LargestProbabilities?
  /// [workers + 1] the attention tasks of each worker: task = keyValueHead · documentCount + document.
  private(set) var attentionTasks: [Int]
  private let workers: Int

  init(maximumTokens: Int, workers: Int) {
    self.workers = workers
    capacity = Self.padded(maximumTokens, workers)
    tokens = .allocate(capacity: capacity)
    rotaryRows = .allocate(capacity: capacity)
    documentOffsets = .allocate(capacity: capacity + 2)
    documentWeights = .allocate(capacity: capacity + 1)
    lossRows = .allocate(capacity: capacity)
    targets = .allocate(capacity: capacity)
    lossWeights = .allocate(capacity: capacity)
    losses = .allocate(capacity: capacity)
    crossEntropies = .allocate(capacity: capacity)
    attentionTasks = [Int](repeating: 0, count: workers + 1)
  }

  deinit {
    for pointer in [tokens, rotaryRows, documentOffsets, lossRows, targets] { pointer.deallocate() }
    documentWeights.deallocate()
    lossWeights.deallocate()
    losses.deallocate()
    crossEntropies.deallocate()
  }

  /// The least number of rows that holds `count` and gives every worker the same multiple of `rowMultiple`.
  static func padded(_ count: Int, _ workers: Int) -> Int {
    count.roundedUp(to: rowMultiple * workers)
  }

  /// Documents without the padding, which comes last.
  var realDocumentCount: Int { rows > tokenCount ? documentCount - 1 : documentCount }

  func tokens(of document: Int) -> Range<Int> {
    Int(documentOffsets[document])..<Int(documentOffsets[document + 1])
  }

  var documents: UnsafeBufferPointer<Int32> {
    UnsafeBufferPointer(start: documentOffsets, count: documentCount + 1)
  }

  /// Takes a batch over and divides its attention among the workers.
  ///
  /// - Parameters:
  ///   - lossWeights: [tokens] how much each prediction counts.
  ///   - mean: whether documents count by their tokens' weights, or 1 each.
  /// - Precondition: 1 to `maximumTokens` tokens, each below the vocabulary's size; embedded rows are of the model's
  ///   width.
  func fill(
    _ batch: Batch, lossWeights: [Float], shape: ModelConfiguration, rotaryTable: RotaryTable, mean: LossMean
  ) {
    let (tokens, targets, vocabularySize) = (batch.tokens, batch.targets, shape.vocabularySize)
    precondition(
      (1...capacity).contains(tokens.count) && lossWeights.count == tokens.count,
      "\(tokens.count) tokens, \(lossWeights.count) loss weights, room for \(capacity)")
    for span in batch.embedded {
      precondition(span.columns == shape.hiddenSize, "embedded rows of \(span.columns), expected \(shape.hiddenSize)")
    }
    embedded = batch.embedded
    for picture in batch.pictures {
      precondition(picture.rows.count == shape.sight?.rowsPerPicture, "a picture of \(picture.rows.count) rows")
    }
    pictures = batch.pictures.map(\.rows)
    tokenCount = tokens.count
    rows = Self.padded(tokenCount, workers)
    lossCount = 0
    for index in 0..<tokenCount {
      let token = tokens[index]
      precondition(token >= 0 && token < vocabularySize, "token \(token) of a vocabulary of \(vocabularySize)")
      self.tokens[index] = token
      guard lossWeights[index] != 0 else { continue }
      let target = targets[index]
      precondition(target >= 0 && target < vocabularySize, "target \(target) of a vocabulary of \(vocabularySize)")
      lossRows[lossCount] = Int32(index)
      self.targets[lossCount] = target
      self.lossWeights[lossCount] = lossWeights[index]
      lossCount += 1
    }
    paddedLossCount = Self.padded(lossCount, workers)
    for index in lossCount..<paddedLossCount {
      lossRows[index] = -1
      self.targets[index] = 0
      self.lossWeights[index] = 0
    }
    for index in tokenCount..<rows { self.tokens[index] = 0 }

    documentCount = batch.documentCount
    for (index, offset) in batch.documentOffsets.enumerated() { documentOffsets[index] = offset }
    if rows > tokenCount {
      documentCount += 1
      documentOffsets[documentCount] = Int32(rows)
    }
    for document in 0..<documentCount {
      let range = self.tokens(of: document)
      let first = rotaryTable.firstRow(ofDocument: range)
      var weight: Float = 0
      for index in range {
        rotaryRows[index] = Int32(first + index - range.lowerBound)
        if index < tokenCount { weight += lossWeights[index] }
      }
      documentWeights[document] = mean == .tokens ? weight : range.lowerBound < tokenCount ? 1 : 0
    }
    divideAttention(keyValueHeadCount: shape.keyValueHeadCount)
  }

  /// What the documents count together.
  var documentWeightSum: Double { (0..<documentCount).reduce(0) { $0 + Double(documentWeights[$1]) } }

  /// Calls `body` with each stretch of rows that come from the embedding table, the padding's included.
  func forEachTokenRange(_ body: (Range<Int>) -> Void) {
    var start = 0
    var (span, picture) = (0, 0)
    // Both rise, and none overlaps another.
    while span < embedded.count || picture < pictures.count {
      let isSpan =
        picture == pictures.count
        || span < embedded.count && embedded[span].rows.lowerBound < pictures[picture].lowerBound
      let outside = isSpan ? embedded[span].rows : pictures[picture]
      if isSpan { span += 1 } else { picture += 1 }
      if start < outside.lowerBound { body(start..<outside.lowerBound) }
      start = outside.upperBound
    }
    if start < rows { body(start..<rows) }
  }

  // MARK: - Losses

  /// Σ weight · loss and Σ weight over some of the rows that have a loss.
  func lossSum(ofRows rows: Range<Int>, tokens: Int) -> LossSum {
    var sum = LossSum(tokens: tokens)
    for row in rows {
      sum.loss += Double(losses[row]) * Double(lossWeights[row])
      sum.weight += Double(lossWeights[row])
    }
    return sum
  }

  /// The loss of each token of the batch.
  var tokenLosses: TokenLosses { TokenLosses(byToken(losses)) }

  /// The cross-entropy of each token of the batch, after a pass with a teacher.
  var tokenCrossEntropies: TokenLosses { TokenLosses(byToken(crossEntropies)) }

  /// [tokens] what belongs to the rows that have a loss, 0 elsewhere.
  func byToken(_ rows: UnsafeMutablePointer<Float>) -> [Float] {
    var values = [Float](repeating: 0, count: tokenCount)
    for row in 0..<lossCount { values[Int(lossRows[row])] = rows[row] }
    return values
  }

  /// - Parameters:
  ///   - said: of the rows that have a loss, in their order.
  ///   - count: tokens of each.
  func setTeacherRows(_ said: LargestProbabilities?, count: Int?) {
    precondition(
      said?.count == count && said?.rowCount == lossCount,
      "\(said?.rowCount ?? 0) rows of a teacher for \(lossCount) that have a loss")
    teacherRows = said
  }

  /// Lets the rows that have a loss count otherwise.
  ///
  /// - Parameter weights: [tokens].
  func setLossWeights(_ weights: [Float]) {
    copy(weights, toRows: lossWeights)
  }

  /// Gives the rows that have a loss the numbers of their tokens.
  ///
  /// - Parameter numbers: [tokens].
  func copy(_ numbers: [Float], toRows rows: UnsafeMutablePointer<Float>) {
    precondition(numbers.count == tokenCount, "\(numbers.count) numbers for \(tokenCount) tokens")
    for row in 0..<lossCount { rows[row] = numbers[Int(lossRows[row])] }
  }

  /// Gives each worker consecutive tasks of about the same cost, which grows with the square of a document's length.
  /// The division depends on the batch and the number of workers only, so that sums keep their order.
  private func divideAttention(keyValueHeadCount: Int) {
    func cost(_ document: Int) -> Int {
      let length = Int(documentOffsets[document + 1] - documentOffsets[document])
      return length * (length + 64)
    }
    var total = 0
    for document in 0..<documentCount { total += cost(document) }
    total *= keyValueHeadCount
    var task = 0
    var done = 0
    for worker in 1..<workers {
      while 2 * done + cost(task % documentCount) <= 2 * (total * worker / workers) {
        done += cost(task % documentCount)
        task += 1
      }
      attentionTasks[worker] = task
    }
    attentionTasks[workers] = keyValueHeadCount * documentCount
  }
}
