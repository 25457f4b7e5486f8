import Model
import Plotting
import Tokenization

/// Windows of consecutive text, all of one length, from documents that are long enough.
///
/// Documents shorter than a window are left out, so that every position is measured on the same texts, and no token
/// has another document before it.
package struct PositionWindows: Sendable {
  /// Tokens that a model reads at once.
  package let length: Int
  /// [windows] of `length + 1` tokens: those that the model reads, and the target of the last one.
  package private(set) var windows: [[Int32]] = []
  /// Documents with at least one window, and without.
  package private(set) var longDocuments = 0
  package private(set) var shortDocuments = 0
  /// Tokens of all documents that are in no window.
  package private(set) var unusedTokens = 0
  private let tokenizer: Tokenizer

  package init(_ tokenizer: Tokenizer, length: Int) {
    self.tokenizer = tokenizer
    self.length = length
  }

  /// Cuts a text, UTF-8, into windows; what is left at its end is not used.
  ///
  /// - Throws: `TokenizerError`.
  package mutating func add(_ text: UnsafeRawBufferPointer) throws {
    var document = tokenizer.beginTokens
    try tokenizer.encode(text, into: &document, specialTokens: .asText)
    document.append(tokenizer.endToken)
    let count = (document.count - 1) / length
    for window in 0..<count { windows.append(Array(document[window * length...(window + 1) * length])) }
    unusedTokens += document.count - 1 - count * length
    if count > 0 { longDocuments += 1 } else { shortDocuments += 1 }
  }
}

/// The loss of a model by the position of the predicting token, in equal buckets of positions.
package struct PositionLosses: Sendable {
  package static let bucketCount = 16
  package let name: String
  /// [bucketCount] nats a token.
  package let losses: [Double]

  /// The positions of each bucket in windows of `length` tokens.
  package static func buckets(length: Int) -> [Range<Int>] {
    (0..<bucketCount).map { length * $0 / bucketCount..<length * ($0 + 1) / bucketCount }
  }

  /// Reads all windows by a model.
  ///
  /// - Parameters:
  ///   - name: what the result is called.
  ///   - windows: at least one, of at least `bucketCount` tokens, each in the model's vocabulary.
  ///   - engines: make the engine that computes.
  ///   - progress: called after each window with the tokens read so far; what it throws ends the measurement.
  /// - Throws: `OutOfMemoryError`, and what `progress` throws.
  package init(
    _ name: String, _ parameters: Parameters, _ windows: PositionWindows, precision: ElementType,
    rotaryScaling: RotaryScaling, engines: any TrainingEngineProvider,
    progress: (_ tokens: Int) throws -> Void = { _ in }
  ) throws {
    self.name = name
    let length = windows.length
    let buckets = Self.buckets(length: length)
    let engine = try engines.makeEngine(
      .whole(parameters),
      EngineSettings(precision: precision, maximumTokens: length, optimizer: nil, rotaryScaling: rotaryScaling))
    var sums = [Double](repeating: 0, count: buckets.count)
    for (index, window) in windows.windows.enumerated() {
      var batch = Batch()
      batch.append(document: window)
      let losses = engine.forward(batch, lossWeights: nil).values
      for (bucket, positions) in buckets.enumerated() {
        sums[bucket] += losses[positions].reduce(0) { $0 + Double($1) }
      }
      try progress((index + 1) * length)
    }
    losses = zip(sums, buckets).map { $0 / Double($1.count * windows.windows.count) }
  }

  /// The losses over the positions, the trained length marked.
  package static func plot(_ results: [PositionLosses], title: String, length: Int, trainedLength: Int) -> LinePlot {
    let colors = ["#57606a", "#1f6fb4", "#2a9d4a", "#d9541e"]
    let middles = buckets(length: length).map { Double($0.lowerBound + $0.upperBound) / 2 }
    let lines = results.enumerated().map { index, result in
      var line = LinePlot.Line(
        result.name, zip(middles, result.losses).map { (x: $0, y: $1) }, color: colors[index % colors.count])
      line.hasCircles = true
      return line
    }
    var plot = LinePlot(
      title: title, xTitle: "position", yTitle: "loss (nats a token)", xs: 0...Double(length), lines: lines)
    if trainedLength < length { plot.marks = [(Double(trainedLength), "trained length")] }
    return plot
  }
}
