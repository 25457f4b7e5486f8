/// A small memory of words and their tokens: one cache line a word, a new word replacing what was there.
///
/// Slot: 32 bytes of the word, zero-padded; its length; its number of tokens, 0 when the slot is free;
/// at byte 36, up to seven tokens. Longer words, and those of more tokens, are merged each time.
final class WordCache {
  static let maximumLength = 32
  static let maximumTokens = 7
  typealias Key = SIMD4<UInt64>

  private static let slotBits: UInt64 = 14
  private static let slotBytes = 64
  private let slots: UnsafeMutableRawPointer

  init() {
    let byteCount = Self.slotBytes << Int(Self.slotBits)
    slots = .allocate(byteCount: byteCount, alignment: Self.slotBytes)
    slots.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    masks = .allocate(byteCount: 2 * Self.maximumLength, alignment: Self.slotBytes)
    masks.initializeMemory(as: UInt8.self, repeating: 0xFF, count: Self.maximumLength)
    (masks + Self.maximumLength).initializeMemory(as: UInt8.self, repeating: 0, count: Self.maximumLength)
  }

  deinit {
    slots.deallocate()
    masks.deallocate()
  }

  /// 32 bytes of ones and 32 of zeros: from byte 32 - n on, a mask of the first n bytes.
  private let masks: UnsafeMutableRawPointer

  /// The word's bytes followed by zeros.
  ///
  /// - Parameters:
  ///   - length: at most `maximumLength`.
  ///   - readable: how many bytes may be read at `word`, at least `length`.
  @inline(__always)
  func key(_ word: UnsafePointer<UInt8>, length: Int, readable: Int) -> Key {
    if readable >= Self.maximumLength {
      return UnsafeRawPointer(word).loadUnaligned(as: Key.self)
        & (masks + (Self.maximumLength - length)).loadUnaligned(as: Key.self)
    }
    var key = Key()
    withUnsafeMutableBytes(of: &key) { $0.baseAddress!.copyMemory(from: word, byteCount: length) }
    return key
  }

  /// Where the word with this key belongs.
  @inline(__always)
  func slot(of key: Key) -> UnsafeMutableRawPointer {
    let mixed =
      key[0] &* 0x9E37_79B9_7F4A_7C15 ^ key[1] &* 0xC2B2_AE3D_27D4_EB4F ^ key[2] &* 0x1656_67B1_9E37_79F9
      ^ key[3] &* 0x27D4_EB2F_1656_67C5
    let hash = (mixed ^ mixed >> 32) &* 0x9E37_79B9_7F4A_7C15
    return slots + Int(hash >> (64 - Self.slotBits)) * Self.slotBytes
  }

  /// Copies the word's tokens to `output`, which needs room for `maximumTokens`.
  ///
  /// - Returns: their number, or 0 when the slot holds another word or none.
  @inline(__always)
  func read(_ slot: UnsafeMutableRawPointer, _ key: Key, _ length: Int, into output: UnsafeMutablePointer<Int32>)
    -> Int
  {
    guard slot.load(as: Key.self) == key, Int(slot.load(fromByteOffset: 32, as: UInt8.self)) == length
    else { return 0 }
    let count = Int(slot.load(fromByteOffset: 33, as: UInt8.self))
    let tokens = (slot + 36).assumingMemoryBound(to: Int32.self)
    // Most words are one or two tokens: copy those without a loop.
    output[0] = tokens[0]
    output[1] = tokens[1]
    var i = 2
    while i < count {
      output[i] = tokens[i]
      i += 1
    }
    return count
  }

  func write(
    _ slot: UnsafeMutableRawPointer, _ key: Key, _ length: Int, _ tokens: UnsafeMutablePointer<Int32>, _ count: Int
  ) {
    guard count <= Self.maximumTokens else { return }
    slot.storeBytes(of: key, as: Key.self)
    slot.storeBytes(of: UInt8(length), toByteOffset: 32, as: UInt8.self)
    slot.storeBytes(of: UInt8(count), toByteOffset: 33, as: UInt8.self)
    (slot + 36).copyMemory(from: tokens, byteCount: 4 * count)
  }
}
