import Corpus
import Evaluation
import Foundation
import Machine
import Model
import Storage
import Tokenization

/// What `minimind eval perplexity --by-position` does: the loss over the position in long texts, for every rotary scaling.
struct PositionReport: Encodable {
  private let model: String
  private let trainedLength: Int
  private let windows: PositionWindows
  private let factor: Double
  private let results: [PositionLosses]
  private let seconds: Double

  /// - Parameters:
  ///   - length: of a window, in tokens.
  ///   - factor: of the scalings.
  /// - Throws: `CommandError` when no document is as long as a window; `Interrupted`.
  init(
    _ model: String, _ parameters: Parameters, _ tokenizer: Tokenizer, _ reader: DocumentReader, length: Int,
    factor: Double, precision: ElementType, engines: any TrainingEngineProvider
  ) throws {
    self.model = model
    self.factor = factor
    trainedLength = parameters.configuration.maximumSequenceLength
    let start = monotonicSeconds()
    var windows = PositionWindows(tokenizer, length: length)
    let broken = try reader.forEachDocument { text in
      try Interruption.check()
      try windows.add(text)
    }
    guard !windows.windows.isEmpty else {
      throw CommandError(
        "none of \(windows.shortDocuments) documents has \(length) tokens. Give longer texts (--whole-files makes a "
          + "plain text file one document), or a smaller --sequence-length.")
    }
    let modes = RotaryOptions.Mode.allCases
    let perMode = windows.windows.count * length
    let progress = ProgressLine(
      "evaluating", total: modes.count * perMode, unit: .things("tokens"), console: .standardError)
    defer { progress.finish() }
    for message in broken.messages { progress.note(message) }
    var results: [PositionLosses] = []
    for mode in modes {
      results.append(
        try PositionLosses(
          mode.rawValue, parameters, windows, precision: precision,
          rotaryScaling: RotaryOptions.scaling(mode, factor: factor, parameters.configuration), engines: engines
        ) { tokens in
          try Interruption.check()
          progress.update(completed: results.count * perMode + tokens, detail: mode.rawValue)
        })
    }
    self.windows = windows
    self.results = results
    seconds = monotonicSeconds() - start
  }

  var plot: String {
    PositionLosses.plot(
      results, title: "\(model): rotary scaling by \(formatNumber(factor)), \(windows.windows.count) texts",
      length: windows.length, trainedLength: trainedLength
    ).svg()
  }

  var text: String {
    var table = TextTable([("positions", .right)] + results.map { ($0.name, .right) })
    for (bucket, positions) in PositionLosses.buckets(length: windows.length).enumerated() {
      table.add(
        ["\(positions.lowerBound)–\(positions.upperBound - 1)"]
          + results.map { String(format: "%.4f", $0.losses[bucket]) })
    }
    return table.render() + "\n"
      + renderPairs([
        (
          name: "loss",
          value: "nats/token; the model was trained on \(trainedLength) tokens, the factor is \(formatNumber(factor))"
        ),
        (
          name: "texts",
          value:
            "\(windows.windows.count) windows of \(windows.length) tokens from \(windows.longDocuments) documents; "
            + "\(windows.shortDocuments) documents were too short"
        ),
        (name: "time", value: formatDuration(seconds)),
      ])
  }

  private enum Key: String, CodingKey {
    case buckets, windows, documents, seconds
    case sequenceLength = "sequence_length"
    case trainedLength = "trained_length"
    case ropeFactor = "rope_factor"
    case documentsTooShort = "documents_too_short"
    case unusedTokens = "unused_tokens"
  }

  private struct Bucket: Encodable {
    let from: Int
    /// One past the last position.
    let to: Int
    let loss: [String: Double]
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    let buckets = PositionLosses.buckets(length: windows.length).enumerated().map { bucket, positions in
      Bucket(
        from: positions.lowerBound, to: positions.upperBound,
        loss: Dictionary(uniqueKeysWithValues: results.map { ($0.name, $0.losses[bucket]) }))
    }
    try container.encode(buckets, forKey: .buckets)
    try container.encode(windows.windows.count, forKey: .windows)
    try container.encode(windows.length, forKey: .sequenceLength)
    try container.encode(trainedLength, forKey: .trainedLength)
    try container.encode(factor, forKey: .ropeFactor)
    try container.encode(windows.longDocuments, forKey: .documents)
    try container.encode(windows.shortDocuments, forKey: .documentsTooShort)
    try container.encode(windows.unusedTokens, forKey: .unusedTokens)
    try container.encode(seconds, forKey: .seconds)
  }
}
