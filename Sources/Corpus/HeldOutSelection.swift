import Storage
import Tokenization

/// Decides by a document's content alone, so that neither order nor other documents matter, whether it is held out.
struct HeldOutSelection: Sendable {
  let fraction: Double
  let seed: Int
  /// Documents up to this digest are held out whatever the fraction, so that one is where chance gave none.
  var last: UInt64?

  /// SHA-256 of the seed and the bytes, cut to 128 bits.
  func digest(_ feed: (SHA256) -> Void) -> Digest {
    let hash = SHA256()
    withUnsafeBytes(of: seed.littleEndian) { hash.update($0) }
    feed(hash)
    return hash.finalize().withUnsafeBytes {
      Digest(low: $0.load(as: UInt64.self), high: $0.load(fromByteOffset: 8, as: UInt64.self))
    }
  }

  func contains(_ digest: Digest) -> Bool {
    Double(digest.high) * 0x1p-64 < fraction || last.map { digest.high <= $0 } ?? false
  }
}
