import Dispatch
import Synchronization

/// The split pattern that a new tokenizer has, by the models that use it.
package enum LearnedSplit: String, CaseIterable, Sendable {
  case gpt2, qwen2, llama3

  /// As `tokenizer.json` has it; nil for GPT-2's, which `WordScanner` knows.
  package var pattern: String? {
    let digits: String
    switch self {
    case .gpt2: return nil
    case .qwen2: digits = #"\p{N}"#
    case .llama3: digits = #"\p{N}{1,3}"#
    }
    return #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The steps of the pre-tokenizer.
  func steps() throws(TokenizerError) -> [SplitStep] {
    guard let pattern else { return [.gpt2] }
    do { return [.pattern(try SplitPattern(pattern), .isolated, isInverted: false)] } catch {
      throw TokenizerError("this system's PCRE2 does not know the pattern of \(rawValue) (\(error.part)). Use gpt2.")
    }
  }
}

/// Learns a byte-level BPE vocabulary: the same merges as Hugging Face's `BpeTrainer`, ties included.
///
/// Documents are streamed in and forgotten; what is kept are the distinct words and their counts.
package struct TokenizerTrainer {
  /// v1's special tokens and bytes: a vocabulary cannot be smaller.
  package static let smallestVocabulary = TokenizerLayout.v1.specialTokens.count + 256
  package static let largestVocabulary = 1 << 24

  private let vocabularySize: Int
  private let layout: TokenizerLayout
  private let splits: [SplitStep]
  private let scanner = WordScanner()
  /// For another pattern than GPT-2's, one a thread.
  private let splitters: [TextSplitter]
  /// One table a thread; they are joined for the training.
  private var counts: [WordCounts]
  /// Documents that wait to be counted by all threads together.
  private var waiting: [UInt8] = []
  private var waitingEnds: [Int] = []
  private static let waitingBytes = 1 << 23

  package private(set) var documentCount = 0
  package private(set) var byteCount = 0

  /// - Parameters:
  ///   - vocabularySize: how many tokens to end with, the special ones and 256 bytes included.
  ///   - threads: how many threads count words, at least 1.
  ///   - layout: the special tokens and the chat template.
  ///   - split: the pattern that cuts text into words.
  package init(
    vocabularySize: Int, threads: Int, layout: TokenizerLayout = .v1, split: LearnedSplit = .gpt2
  ) throws(TokenizerError) {
    let special = layout.specialTokens.count
    guard (special + 256...Self.largestVocabulary).contains(vocabularySize) else {
      throw TokenizerError(
        "a vocabulary of \(vocabularySize) is not possible: choose between \(special + 256) "
          + "(\(special == 3 ? "three" : "\(special)") special tokens and 256 bytes) and \(Self.largestVocabulary).")
    }
    self.layout = layout
    self.vocabularySize = vocabularySize
    counts = Array(repeating: WordCounts(), count: max(1, threads))
    let splits = try split.steps()
    self.splits = splits
    splitters = split == .gpt2 ? [] : counts.map { _ in TextSplitter(splits) }
  }

  /// Counts the words of a document. Ill-formed UTF-8 is read as U+FFFD, as in encoding.
  ///
  /// - Throws: `TokenizerError` for a text that cannot be split; see `Tokenizer.encode`.
  package mutating func add(document: UnsafeRawBufferPointer) throws(TokenizerError) {
    let text = document.bindMemory(to: UInt8.self)
    guard text.count > 0 else { return }
    documentCount += 1
    byteCount += text.count
    if counts.count == 1 {
      try Self.count(text, scanner, splitters.first, into: &counts[0])
      return
    }
    waiting.append(contentsOf: text)
    waitingEnds.append(waiting.count)
    if waiting.count >= Self.waitingBytes { try countWaiting() }
  }

  package mutating func add(document: String) throws(TokenizerError) {
    try Array(document.utf8).withUnsafeBufferPointer { (bytes) throws(TokenizerError) in
      try add(document: UnsafeRawBufferPointer(bytes))
    }
  }

  private static func count(
    _ text: UnsafeBufferPointer<UInt8>, _ scanner: WordScanner, _ splitter: TextSplitter?, into counts: inout WordCounts
  ) throws(TokenizerError) {
    guard UTF8Text.isWellFormed(text) else {
      var mended: [UInt8] = []
      UTF8Text.appendMended(text, to: &mended)
      return try mended.withUnsafeBufferPointer { (text) throws(TokenizerError) in
        try count(text, scanner, splitter, into: &counts)
      }
    }
    guard let base = text.baseAddress else { return }
    if let splitter {
      return try splitter.forEachWord(of: text, in: 0..<text.count) { (word) throws(TokenizerError) in
        if word.count > 1 { counts.add(base + word.lowerBound, length: word.count) }
      }
    }
    var position = 0
    while position < text.count {
      let end = scanner.endOfWord(base, from: position, to: text.count)
      // A word of one byte has no pair to merge.
      if end - position > 1 { counts.add(base + position, length: end - position) }
      position = end
    }
  }

  private mutating func countWaiting() throws(TokenizerError) {
    let threads = counts.count
    let scanner = self.scanner
    // SAFETY: each thread uses its own one.
    nonisolated(unsafe) let splitters = self.splitters
    let failure = Mutex<TokenizerError?>(nil)
    waiting.withUnsafeBufferPointer { text in
      counts.withUnsafeMutableBufferPointer { counts in
        // SAFETY: each iteration changes its own element of `counts` and reads `text`; all end before this returns.
        nonisolated(unsafe) let counts = counts
        nonisolated(unsafe) let text = text
        let ends = waitingEnds
        DispatchQueue.concurrentPerform(iterations: threads) { thread in
          // Whole documents, about as many bytes for each thread.
          let share = text.count / threads + 1
          var start = 0
          for end in ends {
            if start / share == thread {
              do throws(TokenizerError) {
                try Self.count(
                  UnsafeBufferPointer(rebasing: text[start..<end]), scanner,
                  splitters.isEmpty ? nil : splitters[thread],
                  into: &counts[thread])
              } catch {
                failure.withLock { $0 = error }
              }
            }
            start = end
          }
        }
      }
    }
    waiting.removeAll(keepingCapacity: true)
    waitingEnds.removeAll(keepingCapacity: true)
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  /// Learns the merges and makes the tokenizer; the counts are used up.
  ///
  /// With little text there may be nothing left to merge: the vocabulary is then smaller than asked for.
  ///
  /// - Parameter progress: called now and then with the vocabulary so far.
  /// - Throws: `TokenizerError` when no text was added.
  package mutating func train(progress: (Int) -> Void = { _ in }) throws(TokenizerError) -> Tokenizer {
    guard byteCount > 0 else {
      throw TokenizerError("there is no text to learn a vocabulary from: every document was empty. Check the input.")
    }
    try countWaiting()
    var all = counts.removeFirst()
    while let next = counts.popLast() { all.merge(next) }
    waiting = []
    var learner = MergeLearner(all, specialTokens: layout.specialTokens)
    all = WordCounts()
    counts = [WordCounts()]
    learner.learn(vocabularySize: vocabularySize, progress: progress)
    return try Tokenizer(
      tokens: learner.spelledTokens, merges: learner.mergesInOrder, layout: layout, splits: splits)
  }
}
