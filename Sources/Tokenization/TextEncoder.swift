/// Encodes text with a model's merges; used by one thread at a time.
///
/// Each word is looked up in a small cache, since most words of a text have been seen before, and merged
/// only when it is not there. Nothing is allocated per word or per token.
///
/// Sendable: an encoder passes from thread to thread through the model's pool, which lends it to one caller.
final class TextEncoder: @unchecked Sendable {
  // The pool that owns this object belongs to the model, so the model is alive whenever this is used.
  private unowned(unsafe) let model: BytePairModel
  private let scanner = WordScanner()
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
    merger = WordMerger(model)
    addedTokens = AddedTokenFinder(model.addedTokens.filter { !$0.flags.isNormalized })
    normalizedTokens = AddedTokenFinder(model.addedTokens.filter(\.flags.isNormalized))
    capacity = 1 << 12
    output = .allocate(capacity: capacity)
  }

  deinit { output.deallocate() }

  /// The tokens of `text`; the buffer is valid until the next call.
  func encode(_ text: UnsafeRawBufferPointer, specialTokens: SpecialTokenHandling) -> UnsafeBufferPointer<Int32> {
    count = 0
    let bytes = text.bindMemory(to: UInt8.self)
    if UTF8Text.isWellFormed(bytes) {
      encodeWellFormed(bytes, specialTokens: specialTokens)
    } else {
      var mended: [UInt8] = []
      mended.reserveCapacity(bytes.count + bytes.count / 8)
      UTF8Text.appendMended(bytes, to: &mended)
      mended.withUnsafeBufferPointer { encodeWellFormed($0, specialTokens: specialTokens) }
    }
    return UnsafeBufferPointer(start: output, count: count)
  }

  private func encodeWellFormed(_ text: UnsafeBufferPointer<UInt8>, specialTokens: SpecialTokenHandling) {
    guard let base = text.baseAddress, text.count > 0 else { return }
    addedTokens.forEachPart(of: text, in: 0..<text.count, specialTokens: specialTokens) { part in
      switch part {
      case .token(let id): append(id)
      case .text(let range) where normalizedTokens.isEmpty:
        encodeWords(base, from: range.lowerBound, to: range.upperBound, readableEnd: text.count)
      case .text(let range):
        normalizedTokens.forEachPart(of: text, in: range, specialTokens: specialTokens) { part in
          switch part {
          case .token(let id): append(id)
          case .text(let range):
            encodeWords(base, from: range.lowerBound, to: range.upperBound, readableEnd: text.count)
          }
        }
      }
    }
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
      let length = wordEnd - position
      reserve(max(length, WordCache.maximumTokens))
      if length == 1 {
        output[count] = model.byteTokens[Int(text[position])]
        count += 1
      } else if length <= WordCache.maximumLength {
        let key = WordCache.key(text + position, length: length, readable: readableEnd - position)
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
      position = wordEnd
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
