/// The merge loop of byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909), with counts kept up to date.
///
/// Every pair of neighbouring tokens has a count and waits in a heap with the list of words in which it occurs.
/// A step takes the most frequent pair, on a tie the one with the lowest ids, replaces it in its words and changes the
/// counts of the pairs beside it. Counts in the heap may be out of date: an entry is corrected and put back
/// when it comes up.
///
/// The result must equal Hugging Face's `BpeTrainer`, including what it does when two pairs spell the same
/// token ("ab" + "c", "a" + "bc"): the second makes no new token, the count of a merged pair stays, and a pair
/// that appears again gets a second entry in the heap.
///
/// A structure: in a class each access to a property is checked for exclusivity at run time, a third of the time here.
struct MergeLearner {
  // Words: tokens end to end; a word shrinks in place and leaves the rest of its space unused.
  private var symbols: [Int32] = []
  private var wordStarts: [Int] = []
  private var wordLengths: [Int32] = []
  private var wordCounts: [Int] = []

  private var pairs = PairCounts()
  private var places = PlaceLists()
  private var heap = BinaryHeap<MergeCandidate>()

  private var tokens: [[UInt8]] = []
  private var spelled: [String]
  private var ids: [[UInt8]: Int32] = [:]
  private var merges: [(key: UInt64, merged: Int32)] = []

  init(_ words: WordCounts, specialTokens: [String]) {
    spelled = specialTokens
    tokens = specialTokens.map { ByteAlphabet.bytes(of: $0) ?? Array($0.utf8) }
    var byteTokens = [Int32](repeating: 0, count: 256)
    for byte in ByteAlphabet.bytesInVocabularyOrder {
      byteTokens[Int(byte)] = Int32(tokens.count)
      tokens.append([byte])
      spelled.append(ByteAlphabet.spelling(of: [byte]))
    }
    for (id, token) in tokens.enumerated() { ids[token] = Int32(id) }

    symbols.reserveCapacity(words.bytes.count)
    for entry in words.entries {
      wordStarts.append(symbols.count)
      wordLengths.append(Int32(entry.length))
      wordCounts.append(entry.count)
      for byte in words.bytes[entry.start..<entry.start + Int(entry.length)] { symbols.append(byteTokens[Int(byte)]) }
    }
  }

  /// Every token as `tokenizer.json` spells it.
  var spelledTokens: [String] { spelled }

  /// The merges, best first. Of a pair that was merged twice the later counts, as in Hugging Face's table.
  var mergesInOrder: [BytePairModel.Merge] {
    var seen = Set<UInt64>()
    return merges.reversed().filter { seen.insert($0.key).inserted }.reversed().map {
      BytePairModel.Merge(left: PairCounts.left($0.key), right: PairCounts.right($0.key), merged: $0.merged)
    }
  }

  mutating func learn(vocabularySize: Int, progress: (Int) -> Void) {
    countAllPairs()
    while tokens.count < vocabularySize, let entry = heap.pop() {
      let count = pairs.counts[entry.pair]
      if entry.count != count {
        heap.push(MergeCandidate(count: count, key: entry.key, pair: entry.pair, places: entry.places))
        continue
      }
      if count < 1 { break }
      merge(entry)
      if merges.count % 64 == 0 { progress(tokens.count) }
    }
    progress(tokens.count)
  }

  private mutating func countAllPairs() {
    for word in wordStarts.indices {
      let start = wordStarts[word]
      for i in start..<start + Int(wordLengths[word]) - 1 {
        change(symbols[i], symbols[i + 1], by: wordCounts[word], in: word, isNew: true)
      }
    }
    queueNewPairs()
  }

  @inline(__always)
  private mutating func change(_ left: Int32, _ right: Int32, by count: Int, in word: Int, isNew: Bool) {
    let pair = pairs.index(of: PairCounts.key(left, right))
    pairs.counts[pair] += count
    if isNew { places.add(UInt32(word), to: pair, of: &pairs) }
  }

  /// Puts every pair that got a place since the last time into the heap.
  private mutating func queueNewPairs() {
    for pair in pairs.withNewPlaces {
      let list = pairs.takeNewPlaces(of: pair)
      if pairs.counts[pair] > 0 {
        heap.push(MergeCandidate(count: pairs.counts[pair], key: pairs.keys[pair], pair: pair, places: list))
      } else {
        places.free(list)
      }
    }
    pairs.withNewPlaces.removeAll(keepingCapacity: true)
  }

  private mutating func merge(_ entry: MergeCandidate) {
    let left = PairCounts.left(entry.key)
    let right = PairCounts.right(entry.key)
    let spelling = tokens[Int(left)] + tokens[Int(right)]
    let merged: Int32
    if let known = ids[spelling] {
      merged = known
    } else {
      merged = Int32(tokens.count)
      ids[spelling] = merged
      tokens.append(spelling)
      spelled.append(ByteAlphabet.spelling(of: spelling))
    }
    merges.append((entry.key, merged))
    var place = entry.places
    while place != PlaceLists.end {
      replace(left, right, by: merged, in: Int(places.word(at: place)))
      place = places.removeFirst(place)
    }
    queueNewPairs()
  }

  /// Replaces the pair in one word, from left to right, and changes the counts of the pairs beside it.
  private mutating func replace(_ left: Int32, _ right: Int32, by merged: Int32, in word: Int) {
    let start = wordStarts[word]
    let length = Int(wordLengths[word])
    let count = wordCounts[word]
    // `read` runs ahead of `written` by the tokens that went; what is before `written` is final.
    var read = start
    var written = start
    let end = start + length
    while read < end {
      if read + 1 < end && symbols[read] == left && symbols[read + 1] == right {
        if written > start {
          change(symbols[written - 1], left, by: -count, in: word, isNew: false)
          change(symbols[written - 1], merged, by: count, in: word, isNew: true)
        }
        if read + 2 < end {
          change(right, symbols[read + 2], by: -count, in: word, isNew: false)
          change(merged, symbols[read + 2], by: count, in: word, isNew: true)
        }
        symbols[written] = merged
        read += 2
      } else {
        symbols[written] = symbols[read]
        read += 1
      }
      written += 1
    }
    wordLengths[word] = Int32(written - start)
  }
}
