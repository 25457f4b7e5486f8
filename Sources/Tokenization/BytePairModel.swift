import Foundation
import Storage
import Synchronization

/// A vocabulary and its merges, laid out for encoding and decoding. Tokens spell bytes, or characters with a token for
/// each byte of those that have none.
///
/// Sendable: everything except the pool of encoders is written only in `init`, and a mutex guards the pool.
final class BytePairModel: @unchecked Sendable {
  /// Each token as `tokenizer.json` spells it, by id; nil for an id that no token has.
  let tokens: [String?]
  /// Pairs of token ids, best first; see `merged`.
  let merges: [Merge]
  let addedTokens: [AddedToken]
  let pipeline: TextPipeline
  let isByteLevel: Bool
  /// Whether a word that is a token is that token, whatever the merges would make of it: `ignore_merges`.
  let looksUpWords: Bool
  private let words: [[UInt8]: Int32]

  /// U+2581, SentencePiece's mark for a space.
  static let mark: [UInt8] = [0xE2, 0x96, 0x81]
  /// Whether no merge makes a token in which a mark follows another character.
  let marksBeginTokens: Bool
  /// Where tokens spell characters, that of each character.
  private let characters: [UInt32: Int32]

  struct Merge: Equatable {
    let left: Int32
    let right: Int32
    let merged: Int32
  }

  /// The token of each single byte: [256]. Where tokens spell characters, that of each ASCII character, and those of bytes.
  let byteTokens: UnsafeMutablePointer<Int32>
  /// The token that the merge of each rank makes: [merges].
  let mergedTokens: UnsafeMutablePointer<Int32>
  /// No merge has this rank.
  static let noRank = UInt32.max

  /// Open-addressing table from a pair of ids to its rank; at most half full. A free slot's key is `freeKey`.
  private let pairKeys: UnsafeMutablePointer<UInt64>
  private let pairRanks: UnsafeMutablePointer<UInt32>
  private let pairMask: Int
  private let pairShift: UInt64
  private static let freeKey = UInt64.max

  /// All tokens' bytes end to end, and where each begins: [tokens + 1].
  private let bytes: UnsafeMutablePointer<UInt8>
  private let byteOffsets: [Int]
  private let specials: Set<Int32>
  /// Added tokens that are found in normalized text, as they are found there, which is also how they are decoded.
  private let normalizedContents: [Int32: String]

  private let idleEncoders = Mutex<[TextEncoder]>([])

  /// - Parameters:
  ///   - tokens: by id; all 256 single bytes must be among them.
  ///   - merges: ids below `tokens.count`; of two merges of the same pair the later counts.
  ///   - onlyAdded: ids of tokens that are added to the vocabulary, not of it.
  ///   - looksUpWords: see `looksUpWords`.
  init(
    tokens: [String?], merges: [Merge], addedTokens: [AddedToken], pipeline: TextPipeline = .gpt2,
    onlyAdded: Set<Int32> = [], looksUpWords: Bool = false
  ) {
    self.pipeline = pipeline
    isByteLevel = pipeline.isByteLevel
    self.looksUpWords = looksUpWords
    self.tokens = tokens
    self.merges = merges
    self.addedTokens = addedTokens
    specials = Set(addedTokens.filter(\.flags.isSpecial).map(\.id))
    var normalizedContents: [Int32: String] = [:]
    if !pipeline.normalizer.steps.isEmpty {
      for token in addedTokens where token.flags.isNormalized {
        normalizedContents[token.id] = pipeline.normalizer.normalized(token.content)
      }
    }
    self.normalizedContents = normalizedContents

    byteTokens = .allocate(capacity: 256)
    byteTokens.initialize(repeating: 0, count: 256)
    var allBytes: [UInt8] = []
    var offsets = [0]
    var words: [[UInt8]: Int32] = [:]
    var characters: [UInt32: Int32] = [:]
    for (id, token) in tokens.enumerated() {
      let id = Int32(id)
      if let token {
        let isEntry = !onlyAdded.contains(id)
        let text: [UInt8]
        let shown = normalizedContents[id] ?? token
        switch pipeline.decoding {
        case .byteLevel:
          let spelled = ByteAlphabet.bytes(of: token)
          if let spelled, spelled.count == 1, isEntry { byteTokens[Int(spelled[0])] = id }
          if looksUpWords, isEntry, let spelled { words[spelled] = id }
          text = (shown == token ? spelled : ByteAlphabet.bytes(of: shown)) ?? Array(shown.utf8)
        case .characters(let decoding):
          if isEntry, token.unicodeScalars.count == 1, let scalar = token.unicodeScalars.first {
            characters[scalar.value] = id
          }
          if looksUpWords, isEntry { words[Array(token.utf8)] = id }
          text = decoding.byte(of: shown).map { [$0] } ?? decoding.text(of: shown)
          if isEntry, let byte = ByteAlphabet.byte(ofFallback: token) { byteTokens[Int(byte)] = id }
        }
        allBytes += text
      }
      offsets.append(allBytes.count)
    }
    if !pipeline.isByteLevel {
      for (code, id) in characters where code < 0x80 { byteTokens[Int(code)] = id }
    }
    byteOffsets = offsets
    self.words = words
    self.characters = characters
    marksBeginTokens =
      !pipeline.isByteLevel && !looksUpWords
      && merges.allSatisfy { merge in
        let token = Array((tokens[Int(merge.merged)] ?? "").unicodeScalars)
        return !zip(token, token.dropFirst()).contains { $0 != "\u{2581}" && $1 == "\u{2581}" }
      }
    bytes = .allocate(capacity: max(1, allBytes.count))
    bytes.initialize(from: allBytes, count: allBytes.count)

    var bits: UInt64 = 4
    while 1 << bits < 2 * merges.count { bits += 1 }
    pairMask = 1 << bits - 1
    pairShift = 64 - bits
    pairKeys = .allocate(capacity: 1 << bits)
    pairKeys.initialize(repeating: Self.freeKey, count: 1 << bits)
    pairRanks = .allocate(capacity: 1 << bits)
    pairRanks.initialize(repeating: Self.noRank, count: 1 << bits)
    mergedTokens = .allocate(capacity: max(1, merges.count))
    for (rank, merge) in merges.enumerated() {
      mergedTokens[rank] = merge.merged
      let slot = self.slot(of: Self.key(merge.left, merge.right))
      pairKeys[slot] = Self.key(merge.left, merge.right)
      pairRanks[slot] = UInt32(rank)
    }
  }

  deinit {
    byteTokens.deallocate()
    mergedTokens.deallocate()
    pairKeys.deallocate()
    pairRanks.deallocate()
    bytes.deallocate()
  }

  var vocabularySize: Int { tokens.count }

  /// The token as the decoder sees it; nil for an id outside the vocabulary.
  func decodedSpelling(of id: Int32) -> String? {
    guard id >= 0 && id < tokens.count else { return nil }
    return normalizedContents[id] ?? tokens[Int(id)]
  }

  /// The token that is this word, for `looksUpWords`.
  func token(ofWord word: UnsafeBufferPointer<UInt8>) -> Int32? { words[Array(word)] }

  /// Writes the tokens of a word's characters to `output`, which needs room for one a byte, and returns their number.
  func characterTokens(of word: UnsafeBufferPointer<UInt8>, into output: UnsafeMutablePointer<Int32>) -> Int {
    var count = 0
    var position = 0
    while position < word.count {
      if word[position] < 0x80 {
        output[count] = byteTokens[Int(word[position])]
        (count, position) = (count + 1, position + 1)
        continue
      }
      let scalar = UTF8Text.scalar(in: word, at: position)
      let end = position + UTF8.width(scalar)
      if let id = characters[scalar.value] {
        output[count] = id
        count += 1
      } else {
        for byte in word[position..<end] {
          output[count] = byteTokens[Int(byte)]
          count += 1
        }
      }
      position = end
    }
    return count
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// The slot that holds `key`, or the free slot where it belongs.
  @inline(__always)
  private func slot(of key: UInt64) -> Int {
    var slot = Int((key &* 0x9E37_79B9_7F4A_7C15) >> pairShift)
    while pairKeys[slot] != key && pairKeys[slot] != Self.freeKey { slot = (slot + 1) & pairMask }
    return slot
  }

  /// The rank of the merge of `left` and `right`, or `noRank`. Lower ranks merge first.
  @inline(__always)
  func rank(_ left: Int32, _ right: Int32) -> UInt32 { pairRanks[slot(of: Self.key(left, right))] }

  /// The bytes of a token, valid while this object lives; nil for an id outside the vocabulary.
  func bytes(of id: Int32) -> UnsafeBufferPointer<UInt8>? {
    guard id >= 0 && id < tokens.count else { return nil }
    let start = byteOffsets[Int(id)]
    return UnsafeBufferPointer(start: bytes + start, count: byteOffsets[Int(id) + 1] - start)
  }

  func mergesMakeAllTokens() -> Bool {
    let merger = WordMerger(self, looksUpWords: false)
    var made: [Int32] = []
    let added = Set(addedTokens.map(\.id))
    for (id, token) in tokens.enumerated() {
      let id = Int32(id)
      guard token != nil, !added.contains(id), let bytes = bytes(of: id), let base = bytes.baseAddress else { continue }
      made = [Int32](repeating: 0, count: max(2, bytes.count))
      let count = made.withUnsafeMutableBufferPointer { merger.merge(base, length: bytes.count, into: $0.baseAddress!) }
      guard count == 1, made[0] == id else { return false }
    }
    return true
  }

  func isSpecial(_ id: Int32) -> Bool { specials.contains(id) }

  /// Lends an encoder, with the word cache that earlier calls filled, to one caller at a time.
  func withEncoder<Result>(
    _ body: (TextEncoder) throws(TokenizerError) -> Result
  ) throws(TokenizerError) -> Result {
    let encoder = idleEncoders.withLock { $0.popLast() } ?? TextEncoder(self)
    defer { idleEncoders.withLock { $0.append(encoder) } }
    return try body(encoder)
  }
}
