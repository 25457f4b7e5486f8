/// Merges the bytes of one word: again and again the pair of lowest rank, on a tie the leftmost.
final class WordMerger {
  private unowned(unsafe) let model: BytePairModel

  /// Up to here finding the best pair by looking at all of them is quicker than keeping a heap.
  private static let longestScanned = 96
  private let ranks: UnsafeMutablePointer<UInt32>

  private let looksUpWords: Bool

  /// - Parameter looksUpWords: whether a word that is a token is that token; nil: as the model says.
  init(_ model: BytePairModel, looksUpWords: Bool? = nil) {
    self.model = model
    self.looksUpWords = looksUpWords ?? model.looksUpWords
    ranks = .allocate(capacity: Self.longestScanned)
  }

  deinit { ranks.deallocate() }

  /// Writes the word's tokens to `output`, which needs room for one token a byte, and returns their number.
  func merge(_ word: UnsafePointer<UInt8>, length: Int, into output: UnsafeMutablePointer<Int32>) -> Int {
    if looksUpWords, let id = model.token(ofWord: UnsafeBufferPointer(start: word, count: length)) {
      output[0] = id
      return 1
    }
    var count = length
    if model.isByteLevel {
      for i in 0..<length { output[i] = model.byteTokens[Int(word[i])] }
    } else {
      count = model.characterTokens(of: UnsafeBufferPointer(start: word, count: length), into: output)
    }
    return count <= Self.longestScanned ? mergeByScanning(output, count) : mergeByHeap(output, count)
  }

  /// Quadratic in the length, with a very small constant.
  ///
  /// `ranks[i]` is that of the pair (i, i + 1).
  private func mergeByScanning(_ tokens: UnsafeMutablePointer<Int32>, _ length: Int) -> Int {
    let model = self.model
    let ranks = self.ranks
    var count = length
    for i in 0..<max(0, count - 1) { ranks[i] = model.rank(tokens[i], tokens[i + 1]) }
    while count > 1 {
      var best = BytePairModel.noRank
      var at = 0
      for i in 0..<count - 1 where ranks[i] < best {
        best = ranks[i]
        at = i
      }
      if best == BytePairModel.noRank { break }
      tokens[at] = model.mergedTokens[Int(best)]
      count -= 1
      for i in at + 1..<max(at + 1, count) {
        tokens[i] = tokens[i + 1]
        ranks[i - 1] = ranks[i]
      }
      if at > 0 { ranks[at - 1] = model.rank(tokens[at - 1], tokens[at]) }
      if at < count - 1 { ranks[at] = model.rank(tokens[at], tokens[at + 1]) }
    }
    return count
  }

  /// For long words, such as a line of a thousand dashes: n log n.
  ///
  /// The tokens form a linked list; the heap holds rank and position of every pair that could merge, and
  /// of some that no longer exist, which are skipped.
  private func mergeByHeap(_ tokens: UnsafeMutablePointer<Int32>, _ length: Int) -> Int {
    precondition(length < Int(UInt32.max), "a word of \(length) bytes")
    let gone: Int32 = -1
    var next = (1...length).map { UInt32($0) }
    var previous = (0..<length).map { UInt32(truncatingIfNeeded: $0 - 1) }
    var heap = BinaryHeap<UInt64>()
    func offer(_ position: Int, _ following: Int) {
      let rank = model.rank(tokens[position], tokens[following])
      if rank != BytePairModel.noRank { heap.push(UInt64(rank) << 32 | UInt64(position)) }
    }
    for i in 0..<length - 1 { offer(i, i + 1) }
    while let entry = heap.pop() {
      let at = Int(entry & 0xFFFF_FFFF)
      let following = Int(next[at])
      guard tokens[at] != gone, following < length else { continue }
      guard UInt64(model.rank(tokens[at], tokens[following])) == entry >> 32 else { continue }
      tokens[at] = model.mergedTokens[Int(entry >> 32)]
      tokens[following] = gone
      next[at] = next[following]
      if Int(next[at]) < length {
        previous[Int(next[at])] = UInt32(at)
        offer(at, Int(next[at]))
      }
      if at > 0 { offer(Int(previous[at]), at) }
    }
    var count = 0
    var position = 0
    while position < length {
      tokens[count] = tokens[position]
      count += 1
      position = Int(next[position])
    }
    return count
  }
}
