/// Encodes text with a model's merges; used by one thread at a time.
///
/// Each word is looked up in a small cache, since most words of a text have been seen before, and merged
/// only when it is not there. Nothing is allocated per word or per token.
///
/// Sendable: an encoder passes from thread to thread through the model's pool, which lends it to one caller.
final class TextEncoder: @unchecked Sendable {
  // The pool that owns this object belongs to the model, so the model is alive whenever this is used.
  private unowned(unsafe) let model: BytePairModel
  private let pipeline: TextPipeline
  private let isGPT2: Bool
  private let scanner = WordScanner()
  private let splitter: TextSplitter
  private let merger: WordMerger
  private let cache = WordCache()
  private let addedTokens: AddedTokenFinder
  /// Those to be found in what the others leave.
  private let normalizedTokens: AddedTokenFinder

  private var output: UnsafeMutablePointer<Int32>
  private var capacity: Int
  private var count = 0

  init(_ model: BytePairModel) {
    self.model = model
    pipeline = model.pipeline
    isGPT2 = pipeline.isGPT2
    splitter = TextSplitter(pipeline.splits)
    merger = WordMerger(model)
    addedTokens = AddedTokenFinder(model.addedTokens.filter { !$0.flags.isNormalized })
    normalizedTokens = AddedTokenFinder(
      model.addedTokens.filter(\.flags.isNormalized), normalizer: pipeline.normalizer)
    capacity = 1 << 12
    output = .allocate(capacity: capacity)
  }

  deinit { output.deallocate() }

  /// The tokens of `text`; the buffer is valid until the next call.
  func encode(
    _ text: UnsafeRawBufferPointer, specialTokens: SpecialTokenHandling
  ) throws(TokenizerError) -> UnsafeBufferPointer<Int32> {
    count = 0
    let bytes = text.bindMemory(to: UInt8.self)
    if UTF8Text.isWellFormed(bytes) {
      try encodeWellFormed(bytes, specialTokens: specialTokens)
    } else {
      var mended: [UInt8] = []
      mended.reserveCapacity(bytes.count + bytes.count / 8)
      UTF8Text.appendMended(bytes, to: &mended)
      try mended.withUnsafeBufferPointer { (text) throws(TokenizerError) in
        try encodeWellFormed(text, specialTokens: specialTokens)
      }
    }
    return UnsafeBufferPointer(start: output, count: count)
  }

  private func encodeWellFormed(
    _ text: UnsafeBufferPointer<UInt8>, specialTokens: SpecialTokenHandling
  ) throws(TokenizerError) {
    try addedTokens.forEachPart(of: text, in: 0..<text.count, specialTokens: specialTokens) {
      (part) throws(TokenizerError) in
      switch part {
      case .token(let id): append(id)
      case .text(let range) where !pipeline.normalizer.steps.isEmpty && !specialTokens.contents.isEmpty:
        let (part, contents) = pipeline.normalizer.normalized(text, range, contents: specialTokens.contents)
        try part.withUnsafeBufferPointer { (part) throws(TokenizerError) in
          try encodeNormalized(part, 0..<part.count, isFirst: range.lowerBound == 0, .outside(contents))
        }
      case .text(let range):
        let part = UnsafeBufferPointer(rebasing: text[range])
        if let normalized = pipeline.normalizer.steps.isEmpty ? nil : pipeline.normalizer.normalized(part) {
          try normalized.withUnsafeBufferPointer { (part) throws(TokenizerError) in
            try encodeNormalized(part, 0..<part.count, isFirst: range.lowerBound == 0, specialTokens)
          }
        } else {
          try encodeNormalized(text, range, isFirst: range.lowerBound == 0, specialTokens)
        }
      }
    }
  }

  /// - Parameter isFirst: whether the whole text begins with this range.
  private func encodeNormalized(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, isFirst: Bool, _ specialTokens: SpecialTokenHandling
  ) throws(TokenizerError) {
    guard !normalizedTokens.isEmpty else { return try encodePiece(text, range, isFirst: isFirst) }
    try normalizedTokens.forEachPart(of: text, in: range, specialTokens: specialTokens) {
      (part) throws(TokenizerError) in
      switch part {
      case .token(let id): append(id)
      case .text(let piece):
        try encodePiece(text, piece, isFirst: isFirst && piece.lowerBound == range.lowerBound)
      }
    }
  }

  /// Encodes a piece of text that has no added token.
  private func encodePiece(
    _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, isFirst: Bool
  ) throws(TokenizerError) {
    guard let base = text.baseAddress else { return }
    if isGPT2 { return encodeWords(base, from: range.lowerBound, to: range.upperBound, readableEnd: text.count) }
    if let metaspace = pipeline.metaspace {
      let marked = metaspace.marked(UnsafeBufferPointer(rebasing: text[range]), isFirst: isFirst)
      marked.withUnsafeBufferPointer { encodeCharacters($0, 0..<$0.count, splitsAtMarks: metaspace.splits) }
      return
    }
    if !pipeline.isByteLevel && pipeline.splits.isEmpty {
      return encodeCharacters(text, range, splitsAtMarks: false)
    }
    try splitter.forEachWord(of: text, in: range) { (word) throws(TokenizerError) in
      if pipeline.isByteLevel {
        encodeWord(base, from: word.lowerBound, to: word.upperBound, readableEnd: text.count)
      } else {
        encodeCharacters(text, word, splitsAtMarks: false)
      }
    }
  }

  /// Encodes text whose tokens spell characters. Where no token has a mark after another character, a mark always begins
  /// a token, so the text is cut there into words, which the cache knows.
  private func encodeCharacters(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, splitsAtMarks: Bool) {
    guard let base = text.baseAddress, !range.isEmpty else { return }
    let mark = BytePairModel.mark
    let cuts = splitsAtMarks || model.marksBeginTokens
    var start = range.lowerBound
    var position = start + 1
    while cuts && position + mark.count <= range.upperBound {
      if base[position] == mark[0], base[position + 1] == mark[1], base[position + 2] == mark[2],
        // Of several marks only the first one begins a word, unless each does.
        splitsAtMarks || position - start < 3
          || !UnsafeBufferPointer(start: base + position - 3, count: 3).elementsEqual(mark)
      {
        encodeWord(base, from: start, to: position, readableEnd: text.count)
        start = position
      }
      position += 1
    }
    encodeWord(base, from: start, to: range.upperBound, readableEnd: text.count)
  }

  private func append(_ id: Int32) {
    reserve(1)
    output[count] = id
    count += 1
  }

  private func encodeWords(_ text: UnsafePointer<UInt8>, from start: Int, to end: Int, readableEnd: Int) {
    var position = start
    while position < end {
      let wordEnd = scanner.endOfWord(text, from: position, to: end)
      encodeWord(text, from: position, to: wordEnd, readableEnd: readableEnd)
      position = wordEnd
    }
  }

  @inline(__always)
  private func encodeWord(_ text: UnsafePointer<UInt8>, from position: Int, to end: Int, readableEnd: Int) {
    let length = end - position
    reserve(max(length, WordCache.maximumTokens))
    if length == 1 {
      output[count] = model.byteTokens[Int(text[position])]
      count += 1
    } else if length <= WordCache.maximumLength {
      let key = cache.key(text + position, length: length, readable: readableEnd - position)
      let slot = cache.slot(of: key)
      let found = cache.read(slot, key, length, into: output + count)
      if found > 0 {
        count += found
      } else {
        let made = merger.merge(text + position, length: length, into: output + count)
        cache.write(slot, key, length, output + count, made)
        count += made
      }
    } else {
      count += merger.merge(text + position, length: length, into: output + count)
    }
  }

  /// Makes room for that many more tokens.
  @inline(__always)
  private func reserve(_ additional: Int) {
    if count + additional > capacity { grow(additional) }
  }

  private func grow(_ additional: Int) {
    capacity = max(2 * capacity, count + additional)
    let larger = UnsafeMutablePointer<Int32>.allocate(capacity: capacity)
    larger.update(from: output, count: count)
    output.deallocate()
    output = larger
  }
}
