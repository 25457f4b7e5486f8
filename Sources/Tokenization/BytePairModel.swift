import Foundation
import Storage
import Synchronization

/// A byte-level vocabulary and its merges, laid out for encoding and decoding.
///
/// Sendable: everything except the pool of encoders is written only in `init`, and a mutex guards the pool.
final class BytePairModel: @unchecked Sendable {
  /// Each token as `tokenizer.json` spells it, by id.
  let tokens: [String]
  /// Pairs of token ids, best first; see `merged`.
  let merges: [Merge]
  let addedTokens: [AddedToken]

  struct Merge: Equatable {
    let left: Int32
    let right: Int32
    let merged: Int32
  }

  /// The token of each single byte: [256].
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

  private let idleEncoders = Mutex<[TextEncoder]>([])

  /// - Parameters:
  ///   - tokens: by id; all 256 single bytes must be among them.
  ///   - merges: ids below `tokens.count`; of two merges of the same pair the later counts.
  init(tokens: [String], merges: [Merge], addedTokens: [AddedToken]) {
    self.tokens = tokens
    self.merges = merges
    self.addedTokens = addedTokens
    specials = Set(addedTokens.filter(\.flags.isSpecial).map(\.id))

    byteTokens = .allocate(capacity: 256)
    byteTokens.initialize(repeating: 0, count: 256)
    var allBytes: [UInt8] = []
    var offsets = [0]
    for (id, token) in tokens.enumerated() {
      let spelled = ByteAlphabet.bytes(of: token)
      if let spelled, spelled.count == 1 { byteTokens[Int(spelled[0])] = Int32(id) }
      allBytes += spelled ?? Array(token.utf8)
      offsets.append(allBytes.count)
    }
    byteOffsets = offsets
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

  func isSpecial(_ id: Int32) -> Bool { specials.contains(id) }

  /// Lends an encoder, with the word cache that earlier calls filled, to one caller at a time.
  func withEncoder<Result>(_ body: (TextEncoder) throws -> Result) rethrows -> Result {
    let encoder = idleEncoders.withLock { $0.popLast() } ?? TextEncoder(self)
    defer { idleEncoders.withLock { $0.append(encoder) } }
    return try body(encoder)
  }
}
