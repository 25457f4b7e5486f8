/// The class of a code point in the split pattern; every code point has exactly one.
enum UnicodeClass {
  static let other: UInt8 = 0
  static let letter: UInt8 = 1
  static let number: UInt8 = 2
  static let space: UInt8 = 3
}

/// Class lookup for code points: blocks of 256, equal blocks stored once (about 30 KiB in all).
///
/// Sendable: written only in `init`, and the one instance lives for the whole process.
final class UnicodeClassTable: @unchecked Sendable {
  static let shared = UnicodeClassTable()

  /// What the first byte of a character tells: a class for ASCII, or one of the two values below.
  let leadByteClass: UnsafePointer<UInt8>
  /// Lead bytes E5–E8: U+5000–U+8FFF, all of them CJK letters of three bytes.
  static let ideographLead: UInt8 = 4
  /// Any other byte from 0x80 up: the code point must be decoded.
  static let undecided: UInt8 = 5

  private let blockOfPage: UnsafePointer<UInt16>
  private let blocks: UnsafePointer<UInt8>

  private init() {
    var classes = [UInt8](repeating: UnicodeClass.other, count: 0x110000)
    func mark(_ ranges: [UInt32], _ value: UInt8) {
      for i in stride(from: 0, to: ranges.count, by: 2) {
        for code in ranges[i]...ranges[i + 1] { classes[Int(code)] = value }
      }
    }
    mark(UnicodeClassRanges.letters, UnicodeClass.letter)
    mark(UnicodeClassRanges.numbers, UnicodeClass.number)
    mark(UnicodeClassRanges.spaces, UnicodeClass.space)

    var known: [ArraySlice<UInt8>: UInt16] = [:]
    var pages: [UInt16] = []
    var stored: [UInt8] = []
    for page in 0..<0x1100 {
      let block = classes[page << 8..<(page + 1) << 8]
      if let index = known[block] {
        pages.append(index)
      } else {
        let index = UInt16(known.count)
        known[block] = index
        pages.append(index)
        stored += block
      }
    }
    let lead = (0...255).map { (byte: Int) -> UInt8 in
      byte < 0x80 ? classes[byte] : (0xE5...0xE8).contains(byte) ? Self.ideographLead : Self.undecided
    }
    leadByteClass = Self.immortalCopy(lead)
    blockOfPage = Self.immortalCopy(pages)
    blocks = Self.immortalCopy(stored)
  }

  private static func immortalCopy<Element>(_ values: [Element]) -> UnsafePointer<Element> {
    let copy = UnsafeMutablePointer<Element>.allocate(capacity: values.count)
    copy.initialize(from: values, count: values.count)
    return UnsafePointer(copy)
  }

  /// The class of a code point below 0x110000.
  @inline(__always)
  func classOf(_ code: UInt32) -> UInt8 {
    blocks[Int(blockOfPage[Int(code >> 8)]) << 8 | Int(code & 0xFF)]
  }
}
