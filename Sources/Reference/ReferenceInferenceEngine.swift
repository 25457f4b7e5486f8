import Machine
import Model

/// Inference by the model on one page: every step computes its sequences from their beginning, so that nothing but the rows
/// that went in has to be kept.
package final class ReferenceInferenceEngine: InferenceEngine {
  package let configuration: ModelConfiguration
  package let contextLength: Int
  package let limits = StepLimits(rows: 48, promptRows: 32, pageTokens: 8)
  private let model: ReferenceModel

  /// A copy of `parameters`.
  ///
  /// - Parameter contextLength: the model's own when nil.
  package init(_ parameters: Parameters, contextLength: Int? = nil) {
    model = ReferenceModel(parameters)
    configuration = parameters.configuration
    self.contextLength = contextLength ?? configuration.contextLength
  }

  /// What is kept of each token of a page, in the place of keys and values.
  private final class Pages: KeyValuePages {
    struct Row {
      /// [n] what the residual stream begins with.
      var input: [Double]
      /// [d/2] the angles by which queries and keys are turned. With dynamic rotary scaling they depend on how long the
      /// sequence was when the token was read.
      var angles: [Double]
    }

    var rows: [Row?]
    init(count: Int) { rows = [Row?](repeating: nil, count: count) }
  }

  package var pageByteCount: Int { limits.pageTokens * 8 * (configuration.hiddenSize + configuration.headSize / 2) }

  package func makePages(_ count: Int) throws(OutOfMemoryError) -> any KeyValuePages {
    Pages(count: count * limits.pageTokens)
  }

  package func moveToCurrentThread() {}

  package func step(_ pieces: [StepPiece], onOutput: (_ piece: Int, _ row: Int, Span<Float>) -> Void) {
    precondition(pieces.reduce(0) { $0 + $1.tokens.count } <= limits.rows, "too many rows for a step")
    for (number, piece) in pieces.enumerated() {
      let first = piece.cache.count
      let rows = store(piece)
      piece.cache.append(piece.tokens)
      let wanted =
        switch piece.output {
        case .nothing: rows.count..<rows.count
        case .lastLogits: rows.count - 1..<rows.count
        case .allLogits, .hiddenStates: first..<rows.count
        }
      guard !wanted.isEmpty else { continue }
      let found = model.forward(
        rows.flatMap(\.input), tokens: piece.cache.tokens.map(Int.init), documentOffsets: [0, rows.count],
        angles: rows.map(\.angles))
      let output = piece.output.isLogits ? found.logits : found.final.output
      let width = output.count / rows.count
      for row in wanted {
        let values = output[row * width..<(row + 1) * width].map(Float.init)
        onOutput(number, row - first, values.span)
      }
    }
  }

  /// Writes the piece's rows into its pages.
  ///
  /// - Returns: those of the whole sequence, from its beginning.
  private func store(_ piece: StepPiece) -> [Pages.Row] {
    guard let pages = piece.cache.pool.memory as? Pages else { preconditionFailure("pages of another engine") }
    let cache = piece.cache
    let embedding = model.weight(ParameterKey.embedding)
    func place(_ position: Int) -> Int {
      Int(cache.page(position / limits.pageTokens)) * limits.pageTokens + position % limits.pageTokens
    }
    for (offset, token) in piece.tokens.enumerated() {
      let position = cache.count + offset
      let frequencies = configuration.rotarySettings().frequencies(length: piece.promptLength ?? position + 1)
      let embedded = cache.embedded.first { $0.rows.contains(position) }
      let start = Int(token) * configuration.hiddenSize
      pages.rows[place(position)] = Pages.Row(
        input: embedded?.values(ofRow: position).map(Double.init)
          ?? Array(embedding[start..<start + configuration.hiddenSize]),
        angles: frequencies.map { Double(position) * $0 })
    }
    return (0..<cache.count + piece.tokens.count).compactMap { pages.rows[place($0)] }
  }
}
