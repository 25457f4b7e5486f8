import Foundation
import Storage

/// Writes one token shard: tokens go to the disk as they come, the tables follow at the end, the header last.
///
/// Must write into a directory that becomes visible only when everything is in it (`AtomicDirectory`).
/// Memory: that of a `PayloadWriter`, 12 or 13 bytes a document, and for a loss mask one bit a token.
final class ShardWriter {
  /// A shard is closed when it holds this many tokens or documents, which bounds the memory of its tables.
  static let maximumTokens = 1 << 26
  static let maximumDocuments = 1 << 22

  private let payload: PayloadWriter
  private let tokenByteCount: Int
  private let vocabularySize: Int
  private let tokenizerHash: String
  private let hasLossMask: Bool
  private let hasLabels: Bool
  private let hasPictures: Bool
  private var mask: [UInt8] = []
  private var offsets: [UInt64] = [0]
  private var textBytes: [UInt32] = []
  private var labels: [UInt8] = []
  private var pictureOffsets: [UInt32] = [0]
  /// Two numbers a picture.
  private var pictures: [UInt32] = []
  private(set) var tokenCount = 0
  private var trainedTokenCount = 0

  var path: String { payload.path }
  var documentCount: Int { textBytes.count }

  init(path: String, vocabularySize: Int, tokenizerHash: String, hasLossMask: Bool, hasLabels: Bool, hasPictures: Bool)
    throws(FileError)
  {
    self.hasPictures = hasPictures
    self.vocabularySize = vocabularySize
    self.tokenizerHash = tokenizerHash
    self.hasLossMask = hasLossMask
    self.hasLabels = hasLabels
    tokenByteCount = ShardHeader.tokenByteCount(vocabularySize: vocabularySize)
    payload = try PayloadWriter(path: path, headerBytes: ShardHeader.byteCount)
  }

  /// Adds a document.
  ///
  /// - Parameters:
  ///   - trained: 1 for each token to train on and 0 for the others; nil where all except the first are.
  ///   - textBytes: UTF-8 bytes of its text.
  ///   - isDesirable: its label, if the shard has labels.
  ///   - pictures: in the order of their tokens, if the shard has pictures.
  func append(
    _ tokens: ArraySlice<Int32>, trained: ArraySlice<UInt8>?, textBytes: Int, isDesirable: Bool,
    pictures: [ShardPicture] = []
  ) throws(FileError) {
    try payload.append { buffer in
      let start = buffer.count
      buffer.append(contentsOf: repeatElement(0, count: tokens.count * tokenByteCount))
      buffer.withUnsafeMutableBytes { bytes in
        if tokenByteCount == 2 {
          for (index, token) in tokens.enumerated() {
            let value = UInt16(truncatingIfNeeded: token).littleEndian
            bytes.storeBytes(of: value, toByteOffset: start + 2 * index, as: UInt16.self)
          }
        } else {
          for (index, token) in tokens.enumerated() {
            bytes.storeBytes(of: token.littleEndian, toByteOffset: start + 4 * index, as: Int32.self)
          }
        }
      }
    }
    if hasLossMask, let trained {
      mask.append(contentsOf: repeatElement(0, count: (tokenCount + tokens.count + 7) / 8 - mask.count))
      for (index, isTrained) in trained.enumerated() where isTrained != 0 {
        mask[(tokenCount + index) / 8] |= 1 << UInt8((tokenCount + index) % 8)
        trainedTokenCount += 1
      }
    } else {
      trainedTokenCount += tokens.count - 1
    }
    tokenCount += tokens.count
    offsets.append(UInt64(tokenCount))
    self.textBytes.append(UInt32(clamping: textBytes))
    if hasLabels { labels.append(isDesirable ? 1 : 0) }
    if hasPictures {
      for picture in pictures { self.pictures += [UInt32(picture.token), UInt32(picture.number)] }
      pictureOffsets.append(UInt32(self.pictures.count / 2))
    }
  }

  /// Writes the tables and the header, and flushes the file to the disk.
  func finish() throws(FileError) {
    try payload.pad()
    if hasLossMask { try appendSection(mask) }
    try appendSection(littleEndianBytes(offsets))
    try appendSection(littleEndianBytes(textBytes))
    if hasLabels { try appendSection(labels) }
    if hasPictures {
      try appendSection(littleEndianBytes(pictureOffsets))
      try appendSection(littleEndianBytes(pictures))
    }
    try payload.finish { checksum in
      ShardHeader(
        tokenByteCount: tokenByteCount, vocabularySize: vocabularySize, hasLossMask: hasLossMask,
        hasLabels: hasLabels, pictureCount: hasPictures ? pictures.count / 2 : nil, documentCount: documentCount,
        tokenCount: tokenCount, trainedTokenCount: trainedTokenCount,
        textByteCount: textBytes.reduce(0) { $0 + Int($1) }, tokenizerHash: tokenizerHash, payloadChecksum: checksum
      ).encoded()
    }
  }

  private func appendSection(_ bytes: [UInt8]) throws(FileError) {
    try payload.append { $0 += bytes }
    try payload.pad()
  }
}

private func littleEndianBytes<Integer: FixedWidthInteger>(_ values: [Integer]) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.reserveCapacity(values.count * MemoryLayout<Integer>.size)
  for value in values { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
  return bytes
}
