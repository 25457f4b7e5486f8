/// The file format of token shards, little-endian, every section padded with zeros to a multiple of 64 bytes:
///
///     header     128 bytes, fields in the order of `ShardHeader`
///     tokens     tokenCount × UInt16, or UInt32 where the vocabulary has 65536 entries or more
///     loss mask  tokenCount bits, bit i mod 8 of byte i / 8 set where token i is trained on; absent for pretraining
///     offsets    (documentCount + 1) × UInt64: where each document starts in tokens, and the end
///     text bytes documentCount × UInt32: UTF-8 bytes of text that the trained tokens of each document stand for
///     labels     documentCount bytes, 1 for an answer that people want; absent except for answers with labels
///     pictures   absent except in data with pictures: (documentCount + 1) × UInt32: where each document's begin, and the end;
///                then, in a section of its own, for each picture the first of the document's tokens that stand for it and its
///                number in the file of pictures, UInt32 each
package struct ShardHeader: Equatable {
  /// Of a header.
  package static let byteCount = 128
  static let magic = Array("MMTOKENS".utf8)
  static let version: UInt32 = 1

  var tokenByteCount: Int
  var vocabularySize: Int
  var hasLossMask: Bool
  var hasLabels: Bool
  /// Nil without pictures.
  var pictureCount: Int?
  var documentCount: Int
  var tokenCount: Int
  var trainedTokenCount: Int
  /// UTF-8 bytes of all documents' text.
  var textByteCount: Int
  /// SHA-256 of the tokenizer, in hexadecimal.
  var tokenizerHash: String
  /// `Checksum` of everything after the header.
  package var payloadChecksum: UInt64

  /// Bytes of one token in a shard of a vocabulary of that size.
  static func tokenByteCount(vocabularySize: Int) -> Int { vocabularySize < 65536 ? 2 : 4 }

  /// A number of bytes rounded up to a multiple of 64, as long as each section is.
  static func padded(_ count: Int) -> Int { (count + 63) & ~63 }

  var tokensOffset: Int { Self.byteCount }
  var maskOffset: Int { tokensOffset + Self.padded(tokenCount * tokenByteCount) }
  var offsetsOffset: Int { maskOffset + (hasLossMask ? Self.padded((tokenCount + 7) / 8) : 0) }
  var textBytesOffset: Int { offsetsOffset + Self.padded((documentCount + 1) * 8) }
  var labelsOffset: Int { textBytesOffset + Self.padded(documentCount * 4) }
  var pictureOffsetsOffset: Int { labelsOffset + (hasLabels ? Self.padded(documentCount) : 0) }
  /// Where the table of pictures begins in the file.
  package var picturesOffset: Int {
    pictureOffsetsOffset + (pictureCount == nil ? 0 : Self.padded((documentCount + 1) * 4))
  }
  var fileByteCount: Int { picturesOffset + Self.padded((pictureCount ?? 0) * 8) }

  /// The 128 bytes, which end with a checksum of those before.
  package func encoded() -> [UInt8] {
    var bytes = Self.magic
    func append<Integer: FixedWidthInteger>(_ value: Integer) {
      withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    append(Self.version)
    append(UInt32(tokenByteCount))
    append(UInt32(vocabularySize))
    append(UInt32((hasLossMask ? 1 : 0) | (hasLabels ? 2 : 0) | (pictureCount == nil ? 0 : 4)))
    for count in [documentCount, tokenCount, trainedTokenCount, textByteCount] { append(UInt64(count)) }
    bytes.append(contentsOf: bytesOfHexadecimal(tokenizerHash) ?? [UInt8](repeating: 0, count: 32))
    append(payloadChecksum)
    if let pictureCount { append(UInt64(pictureCount)) }
    bytes.append(contentsOf: [UInt8](repeating: 0, count: Self.byteCount - 8 - bytes.count))
    append(bytes.withUnsafeBytes { Checksum.of($0) })
    return bytes
  }

  /// Reads the header of a file whose whole content is `file`, and checks that the sections fit it exactly.
  package init(_ file: UnsafeRawBufferPointer, path: String) throws(CorpusError) {
    func broken(_ what: String) -> CorpusError { CorpusError("\(path): \(what). Prepare the data again.") }
    guard file.count >= Self.byteCount else {
      throw broken("the file is cut off (\(file.count) bytes, less than its header)")
    }
    guard file.prefix(8).elementsEqual(Self.magic) else { throw broken("this is not a token shard") }
    func read32(_ offset: Int) -> Int {
      Int(UInt32(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }
    func read64(_ offset: Int) -> UInt64 {
      UInt64(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
    guard read32(8) == Int(Self.version) else {
      throw broken("the shard has format version \(read32(8)), this program reads version \(Self.version)")
    }
    guard read64(Self.byteCount - 8) == Checksum.of(UnsafeRawBufferPointer(rebasing: file[..<(Self.byteCount - 8)]))
    else {
      throw broken("the header is damaged (its checksum does not match)")
    }
    tokenByteCount = read32(12)
    vocabularySize = read32(16)
    hasLossMask = read32(20) & 1 == 1
    hasLabels = read32(20) & 2 == 2
    guard tokenByteCount == Self.tokenByteCount(vocabularySize: vocabularySize), read32(20) <= 7,
      vocabularySize > 0, vocabularySize <= Int(Int32.max)
    else {
      throw broken("the header contradicts itself")
    }
    // No count can exceed the file's size in bytes, so the sums below cannot overflow.
    var counts: [Int] = []
    for index in 0..<3 {
      guard let count = Int(exactly: read64(24 + index * 8)), count <= file.count else {
        throw broken("the header claims more than the file's \(file.count) bytes can hold")
      }
      counts.append(count)
    }
    documentCount = counts[0]
    tokenCount = counts[1]
    trainedTokenCount = counts[2]
    guard let text = Int(exactly: read64(48)), text <= Int.max >> 16 else {
      throw broken("the header claims absurd sizes")
    }
    textByteCount = text
    tokenizerHash = hexadecimal(UnsafeRawBufferPointer(rebasing: file[56..<88]))
    payloadChecksum = read64(88)
    if read32(20) & 4 == 4 {
      guard let count = Int(exactly: read64(96)), count <= file.count else {
        throw broken("the header claims more than the file's \(file.count) bytes can hold")
      }
      pictureCount = count
    }
    guard fileByteCount == file.count else {
      throw broken(
        file.count < fileByteCount
          ? "the file is cut off (\(file.count) of \(fileByteCount) bytes)"
          : "the file has \(file.count - fileByteCount) bytes too many")
    }
  }

  init(
    tokenByteCount: Int, vocabularySize: Int, hasLossMask: Bool, hasLabels: Bool, pictureCount: Int? = nil,
    documentCount: Int, tokenCount: Int, trainedTokenCount: Int, textByteCount: Int, tokenizerHash: String,
    payloadChecksum: UInt64
  ) {
    self.tokenByteCount = tokenByteCount
    self.vocabularySize = vocabularySize
    self.hasLossMask = hasLossMask
    self.hasLabels = hasLabels
    self.pictureCount = pictureCount
    self.documentCount = documentCount
    self.tokenCount = tokenCount
    self.trainedTokenCount = trainedTokenCount
    self.textByteCount = textByteCount
    self.tokenizerHash = tokenizerHash
    self.payloadChecksum = payloadChecksum
  }
}

/// A picture of a document.
package struct ShardPicture: Sendable, Equatable {
  /// The first of the document's tokens that stand for it.
  package var token: Int
  /// In the file of pictures.
  package var number: Int
}

func hexadecimal(_ bytes: UnsafeRawBufferPointer) -> String {
  let digits = Array("0123456789abcdef")
  return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

/// The bytes that an even number of hexadecimal digits stands for, or nil for any other text.
func bytesOfHexadecimal(_ text: String) -> [UInt8]? {
  let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
  guard digits.count == 64, text.utf8.count == 64 else { return nil }
  return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// A fast checksum against damage (not against forgery): eight lanes of 64 bits, each multiplied and rotated.
///
/// Every step is invertible, so a change of any one 8-byte word always changes the result.
package struct Checksum {
  private var lanes = SIMD8<UInt64>(1, 2, 3, 4, 5, 6, 7, 8)
  private var byteCount = 0

  /// Adds bytes, whose number must be a multiple of 64 except in the last call.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    var position = 0
    while position + 64 <= bytes.count {
      step(bytes.loadUnaligned(fromByteOffset: position, as: SIMD8<UInt64>.self))
      position += 64
    }
    if position < bytes.count {
      var rest = SIMD8<UInt64>()
      withUnsafeMutableBytes(of: &rest) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[position...])) }
      step(rest)
    }
    byteCount += bytes.count
  }

  @inline(__always) private mutating func step(_ block: SIMD8<UInt64>) {
    lanes = (lanes ^ block) &* 0x9E37_79B9_7F4A_7C15
    lanes = lanes ^ (lanes &>> 29)
  }

  var value: UInt64 {
    var result = UInt64(byteCount)
    for index in 0..<8 {
      result = (result ^ lanes[index]) &* 0xBF58_476D_1CE4_E5B9
      result ^= result >> 31
    }
    return result
  }

  /// Of some bytes at once.
  package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var checksum = Checksum()
    checksum.update(bytes)
    return checksum.value
  }
}
