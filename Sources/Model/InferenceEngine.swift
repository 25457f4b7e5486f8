import Machine

/// A model that continues sequences: rows in, logits of the next token out.
///
/// A caller decides which rows of which sequences are read next, where their keys and values are kept, and what is wanted
/// of each. The engine has one way through the layers, `step`; `KeyValueCache` and `KeyValuePool` do the bookkeeping of
/// pages, which is the same for every engine, and only what is in a page is the engine's own affair.
///
/// An engine computes one step at a time; any number of caches may take turns.
package protocol InferenceEngine: AnyObject {
  /// The rotary scaling in use included.
  var configuration: ModelConfiguration { get }
  /// The most tokens of a sequence. Beyond the length that the model was trained for it works, at falling quality.
  var contextLength: Int { get }
  var limits: StepLimits { get }
  /// Bytes of the keys and values of one page.
  var pageByteCount: Int { get }

  /// Memory for the keys and values of `count` pages.
  ///
  /// - Throws: `OutOfMemoryError`.
  func makePages(_ count: Int) throws(OutOfMemoryError) -> any KeyValuePages

  /// Takes the next rows of some sequences through all layers. Their keys and values go into the caches, to which the
  /// tokens are then appended.
  ///
  /// What comes out for a row depends neither on the other rows nor on how the rows of a sequence are shared out among
  /// steps.
  ///
  /// - Parameters:
  ///   - pieces: of different sequences, no more than `limits.rows` rows together.
  ///   - onOutput: called in the calling thread with the number of a piece, that of a row in it, and what the piece asks
  ///     for, [vocabularySize] or [hiddenSize], valid during the call; in the order of pieces and rows.
  func step(_ pieces: [StepPiece], onOutput: (_ piece: Int, _ row: Int, Span<Float>) -> Void)

  /// The calling thread is the one that calls `step` from now on.
  func moveToCurrentThread()
}

/// The keys and values of a pool's pages, laid out as the engine that made them likes.
package protocol KeyValuePages: AnyObject {}

/// How much an engine takes in one step.
package struct StepLimits: Sendable, Equatable {
  /// The most rows of a step.
  package var rows: Int
  /// The most of them that prompts should take; the others are for sequences that are being written, one row each.
  package var promptRows: Int
  /// Tokens of a page of keys and values.
  package var pageTokens: Int

  package init(rows: Int, promptRows: Int, pageTokens: Int) {
    self.rows = rows
    self.promptRows = promptRows
    self.pageTokens = pageTokens
  }

  /// The most sequences that can be written at the same time.
  package var sequences: Int { rows - promptRows }
  /// The number of pages that `tokens` tokens take.
  package func pages(_ tokens: Int) -> Int { (tokens + pageTokens - 1) / pageTokens }
}

/// What one sequence contributes to a step: its next rows.
package struct StepPiece {
  package enum Output: Sendable {
    case nothing
    /// The logits after the last row, or after each.
    case lastLogits
    case allLogits
    /// The final hidden state of each row, normalised by the model's last norm.
    case hiddenStates

    package var isLogits: Bool { self == .lastLogits || self == .allLogits }
  }

  /// Its pages are reserved for these rows. Where it has an `EmbeddedSpan`, a row's token is not read.
  package let cache: KeyValueCache
  /// At least one.
  package let tokens: ArraySlice<Int32>
  /// The tokens of the whole prompt, where these belong to it: with dynamic rotary scaling it decides how they turn.
  /// Nil for tokens that the model wrote, which turn as the end of what is there.
  package let promptLength: Int?
  package let output: Output

  package init(_ cache: KeyValueCache, _ tokens: ArraySlice<Int32>, promptLength: Int?, _ output: Output) {
    self.cache = cache
    self.tokens = tokens
    self.promptLength = promptLength
    self.output = output
  }
}

extension InferenceEngine {
  /// Tokens of a pool in which `sequences` sequences can become as long as the context; fewer where that takes more
  /// than `byteLimit` bytes, but never less than one sequence.
  package func cacheTokens(sequences: Int, byteLimit: Int = .max) -> Int {
    let sequenceTokens = limits.pages(contextLength) * limits.pageTokens
    return max(sequenceTokens, min(sequences * sequenceTokens, byteLimit / pageByteCount * limits.pageTokens))
  }

  /// An empty cache for one sequence, with a pool of its own.
  ///
  /// - Throws: `OutOfMemoryError`.
  package func makeCache() throws(OutOfMemoryError) -> KeyValueCache {
    KeyValueCache(try KeyValuePool(self, tokens: contextLength), capacity: contextLength)
  }

  /// Adds tokens to a sequence.
  ///
  /// With dynamic rotary scaling and beyond the trained length, they turn as the length with them asks for, and tokens
  /// that are in the cache already stay as they were, as in `transformers`.
  ///
  /// - Parameter tokens: at least one, each in the vocabulary; no more than the cache has room for.
  /// - Returns: the logits after the last one, [vocabularySize].
  package func prefill(_ tokens: some RandomAccessCollection<Int32>, _ cache: KeyValueCache) -> [Float] {
    precondition(!tokens.isEmpty, "no tokens")
    var rest = Array(tokens)[...]
    let length = cache.count + tokens.count
    cache.reserve(tokens.count)
    while rest.count > limits.promptRows {
      step([StepPiece(cache, rest.prefix(limits.promptRows), promptLength: length, .nothing)]) { _, _, _ in }
      rest.removeFirst(limits.promptRows)
    }
    return logits(StepPiece(cache, rest, promptLength: length, .lastLogits))
  }

  /// Adds one token to a sequence that has room for it.
  ///
  /// - Returns: the logits after it, [vocabularySize].
  package func decode(_ token: Int32, _ cache: KeyValueCache) -> [Float] {
    cache.reserve(1)
    return logits(StepPiece(cache, [token], promptLength: nil, .lastLogits))
  }

  /// Adds one token to each of several sequences in one step.
  ///
  /// - Parameter onLogits: called with the number of a sequence and the logits after its token, [vocabularySize].
  package func decode(
    _ tokens: [Int32], _ caches: [KeyValueCache], onLogits: (_ sequence: Int, Span<Float>) -> Void
  ) {
    for cache in caches { cache.reserve(1) }
    let pieces = zip(tokens, caches).map { StepPiece($1, [$0], promptLength: nil, .lastLogits) }
    step(pieces) { sequence, _, logits in onLogits(sequence, logits) }
  }

  private func logits(_ piece: StepPiece) -> [Float] {
    var result: [Float] = []
    step([piece]) { _, _, logits in logits.withUnsafeBufferPointer { result = Array($0) } }
    return result
  }
}
