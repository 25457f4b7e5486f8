import Dispatch

/// Learns a byte-level BPE vocabulary: the same merges as Hugging Face's `BpeTrainer`, ties included.
///
/// Documents are streamed in and forgotten; what is kept are the distinct words and their counts.
package struct TokenizerTrainer {
  /// v1's special tokens and bytes: a vocabulary cannot be smaller.
  package static let smallestVocabulary = TokenizerLayout.v1.specialTokens.count + 256
  package static let largestVocabulary = 1 << 24

  private let vocabularySize: Int
  private let layout: TokenizerLayout
  private let scanner = WordScanner()
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
  package init(vocabularySize: Int, threads: Int, layout: TokenizerLayout = .v1) throws(TokenizerError) {
    let special = layout.specialTokens.count
    guard (special + 256...Self.largestVocabulary).contains(vocabularySize) else {
      throw TokenizerError(
        "a vocabulary of \(vocabularySize) is not possible: choose between \(special + 256) "
          + "(\(special == 3 ? "three" : "\(special)") special tokens and 256 bytes) and \(Self.largestVocabulary).")
    }
    self.layout = layout
    self.vocabularySize = vocabularySize
    counts = Array(repeating: WordCounts(), count: max(1, threads))
  }

  /// Counts the words of a document. Ill-formed UTF-8 is read as U+FFFD, as in encoding.
  package mutating func add(document: UnsafeRawBufferPointer) {
    let text = document.bindMemory(to: UInt8.self)
    guard text.count > 0 else { return }
    documentCount += 1
    byteCount += text.count
    if counts.count == 1 {
      Self.count(text, scanner, into: &counts[0])
      return
    }
    waiting.append(contentsOf: text)
    waitingEnds.append(waiting.count)
    if waiting.count >= Self.waitingBytes { countWaiting() }
  }

  package mutating func add(document: String) {
    var document = document
    document.withUTF8 { add(document: UnsafeRawBufferPointer($0)) }
  }

  private static func count(_ text: UnsafeBufferPointer<UInt8>, _ scanner: WordScanner, into counts: inout WordCounts) {
    guard UTF8Text.isWellFormed(text) else {
      var mended: [UInt8] = []
      UTF8Text.appendMended(text, to: &mended)
      mended.withUnsafeBufferPointer { count($0, scanner, into: &counts) }
      return
    }
    guard let base = text.baseAddress else { return }
    var position = 0
    while position < text.count {
      let end = scanner.endOfWord(base, from: position, to: text.count)
      // A word of one byte has no pair to merge.
      if end - position > 1 { counts.add(base + position, length: end - position) }
      position = end
    }
  }

  private mutating func countWaiting() {
    let threads = counts.count
    let scanner = self.scanner
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
              Self.count(UnsafeBufferPointer(rebasing: text[start..<end]), scanner, into: &counts[thread])
            }
            start = end
          }
        }
      }
    }
    waiting.removeAll(keepingCapacity: true)
    waitingEnds.removeAll(keepingCapacity: true)
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
    countWaiting()
    var all = counts.removeFirst()
    while let next = counts.popLast() { all.merge(next) }
    waiting = []
    var learner = MergeLearner(all, specialTokens: layout.specialTokens)
    all = WordCounts()
    counts = [WordCounts()]
    learner.learn(vocabularySize: vocabularySize, progress: progress)
    return try Tokenizer(
      tokens: learner.spelledTokens, merges: learner.mergesInOrder, layout: layout)
  }
}
