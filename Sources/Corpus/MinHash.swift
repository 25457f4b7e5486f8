import Foundation
import Storage

/// Finds texts that share most of their words: MinHash (Broder 1997, "On the resemblance and containment of documents"),
/// and its values in bands (Indyk and Motwani 1998, "Approximate nearest neighbors").
///
/// The similarity of two texts is Jaccard's: of all runs of five words that either has, the share that both have. Each of
/// 16·r hash functions gives a text the least value among its runs, and two texts have the same least value with a
/// probability that is their similarity s. A band is r such values as one key. Texts share one of the 16 bands with
/// probability 1 - (1 - s^r)^16, which rises steeply where s is the threshold: r is chosen so that it is near a half there.
package struct MinHash: Sendable {
  package static let bandCount = 16
  /// Words of a run.
  package static let shingleWords = 5

  /// Values of a band: r.
  package let rowCount: Int
  /// A hash function is x → multiplier · x + offset modulo 2^32. Lane b of vector i is value i of band b.
  private let multipliers: [SIMD16<UInt32>]
  private let offsets: [SIMD16<UInt32>]

  /// - Parameter threshold: the similarity at which two texts share a band with a probability near 1/2; above 0, below 1.
  package init(threshold: Double) {
    let bandProbability = 1 - pow(0.5, 1 / Double(Self.bandCount))
    let rowCount = max(1, Int((log(bandProbability) / log(threshold)).rounded()))
    self.rowCount = rowCount
    // Always the same functions, so that the same texts are found in every run.
    var generator = SplitMix64(seed: 0x4D69_6E48_6173_68)
    func vectors() -> [SIMD16<UInt32>] {
      (0..<rowCount).map { _ in
        var vector = SIMD16<UInt32>()
        for lane in vector.indices { vector[lane] = UInt32(truncatingIfNeeded: generator.next()) }
        return vector
      }
    }
    multipliers = vectors().map { $0 | 1 }
    offsets = vectors()
  }

  /// The probability that two texts of this similarity share a band.
  package func probability(similarity: Double) -> Double {
    1 - pow(1 - pow(similarity, Double(rowCount)), Double(Self.bandCount))
  }

  /// One key for each band; none for a text without a word, which is like no other.
  package func bands(of text: UnsafeRawBufferPointer) -> [Digest] {
    let runs = shingles(of: text)
    guard !runs.isEmpty else { return [] }
    var low = SIMD16<UInt64>()
    var high = SIMD16<UInt64>()
    for lane in low.indices { (low[lane], high[lane]) = (mixed(UInt64(lane + 1)), mixed(UInt64(lane + 17))) }
    for row in 0..<rowCount {
      let least = SIMD16<UInt64>(truncatingIfNeeded: leastValues(row, of: runs))
      low = (low ^ least) &* 0x9E37_79B9_7F4A_7C15
      low ^= low &>> 29
      high = (high ^ least) &* 0xBF58_476D_1CE4_E5B9
      high ^= high &>> 32
    }
    return low.indices.map { Digest(low: mixed(low[$0]), high: mixed(high[$0])) }
  }

  /// The least value of each of 16 hash functions.
  private func leastValues(_ row: Int, of runs: [UInt32]) -> SIMD16<UInt32> {
    let (multiplier, offset) = (multipliers[row], offsets[row])
    var least = SIMD16<UInt32>(repeating: .max)
    for run in runs {
      let value = multiplier &* run &+ offset
      // Not `pointwiseMin`, which works lane by lane (six times slower, Swift 6.3).
      least.replace(with: value, where: value .< least)
    }
    return least
  }
}

/// The hashes of all runs of five words in UTF-8 text, in their order; of all words where there are fewer.
///
/// A word is a run of letters and digits; a Chinese character or kana is a word of its own. Case of ASCII letters,
/// punctuation and white space make no difference.
package func shingles(of text: UnsafeRawBufferPointer) -> [UInt32] {
  let words = wordHashes(of: text)
  let length = min(MinHash.shingleWords, words.count)
  guard length > 0 else { return [] }
  return (0...words.count - length).map { start in
    var hash: UInt64 = 0
    for index in start..<start + length { hash = (hash &+ words[index]) &* 0x9E37_79B9_7F4A_7C15 }
    return UInt32(truncatingIfNeeded: mixed(hash) >> 32)
  }
}

private func wordHashes(of text: UnsafeRawBufferPointer) -> [UInt64] {
  var words: [UInt64] = []
  words.reserveCapacity(text.count / 5)
  var hash: UInt64 = 0
  var position = 0
  func end() {
    if hash != 0 { words.append(hash) }
    hash = 0
  }
  while position < text.count {
    let byte = text[position]
    if byte < 0x80 {
      position += 1
      let isUpper = byte &- 0x41 < 26
      if isUpper || byte &- 0x61 < 26 || byte &- 0x30 < 10 {
        hash = (hash ^ UInt64(isUpper ? byte | 0x20 : byte)) &* wordPrime &+ 1
      } else {
        end()
      }
      continue
    }
    let (scalar, length) = decodedScalar(text, position)
    position += length
    switch scalar {
    // Latin-1's signs, general punctuation and symbols, CJK punctuation, full-width signs.
    case 0x80...0xBF, 0x2000...0x2BFF, 0x3000...0x303F, 0xFE10...0xFE6F, 0xFF00...0xFF0F, 0xFF1A...0xFF20,
      0xFF3B...0xFF40, 0xFF5B...0xFF65:
      end()
    // Kana, ideographs.
    case 0x2E80...0x2FFF, 0x3040...0x31FF, 0x3400...0x9FFF, 0xF900...0xFAFF, 0x20000...0x3FFFF:
      end()
      words.append(mixed(UInt64(scalar)))
    default:
      hash = (hash ^ UInt64(scalar)) &* wordPrime &+ 1
    }
  }
  end()
  return words
}

/// FNV-1a's.
private let wordPrime: UInt64 = 0x0000_0100_0000_01B3

/// The character at `position` of valid UTF-8 and its bytes.
private func decodedScalar(_ text: UnsafeRawBufferPointer, _ position: Int) -> (scalar: UInt32, length: Int) {
  let first = UInt32(text[position])
  let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
  var scalar = first & (0x7F >> UInt32(length))
  for byte in text[position + 1..<min(position + length, text.count)] { scalar = scalar << 6 | UInt32(byte & 0x3F) }
  return (scalar, length)
}

/// Spreads all bits of a number over all of them, one to one (the last step of SplitMix64).
private func mixed(_ value: UInt64) -> UInt64 {
  var bits = value
  bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
  bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
  return bits ^ (bits >> 31)
}
