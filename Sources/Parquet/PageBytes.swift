import CDecoding

/// How pages are compressed.
enum PageCodec: Int {
  case none = 0
  case snappy = 1
  case gzip = 2
  case zstd = 6

  static func name(_ code: Int) -> String {
    [3: "LZO", 4: "Brotli", 5: "LZ4", 7: "LZ4"][code] ?? "a way of number \(code)"
  }
}

/// Bytes of a page, decompressed: a part of the file, or memory of their own.
final class PageBytes {
  let bytes: UnsafeRawBufferPointer
  private let owned: UnsafeMutableRawBufferPointer?
  private let memory: PageMemory

  /// - Parameters:
  ///   - packed: the bytes as they are in the file, which outlive this.
  ///   - count: of them when they are decompressed.
  /// - Throws: `ParquetError` where they become more or fewer, or too many.
  init(_ packed: UnsafeRawBufferPointer, _ codec: PageCodec, count: Int, memory: PageMemory) throws(ParquetError) {
    self.memory = memory
    guard codec != .none else {
      guard packed.count == count else { throw .damaged("a page has \(packed.count) bytes and should have \(count)") }
      (bytes, owned) = (packed, nil)
      return
    }
    try memory.take(count)
    // Pages of memory come as they are written: a size that is not true takes none.
    let room = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 8)
    let target = UnsafeMutableRawBufferPointer(rebasing: room[..<count])
    guard Self.decode(packed, codec, into: target) else {
      room.deallocate()
      memory.giveBack(count)
      throw .damaged("a page of it cannot be decompressed")
    }
    (bytes, owned) = (UnsafeRawBufferPointer(target), room)
  }

  deinit {
    guard let owned else { return }
    memory.giveBack(bytes.count)
    owned.deallocate()
  }

  private static func decode(
    _ packed: UnsafeRawBufferPointer, _ codec: PageCodec, into target: UnsafeMutableRawBufferPointer
  ) -> Bool {
    var input = packed.baseAddress?.assumingMemoryBound(to: UInt8.self)
    var output = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
    guard packed.count > 0 else { return target.isEmpty }
    if codec == .snappy {
      return minimind_decode_snappy(input, packed.count, output, target.count) == MINIMIND_DECODED
    }
    guard let decoder = codec == .gzip ? minimind_decoder_gzip() : minimind_decoder_zstd() else { return false }
    defer { minimind_decoder_free(decoder) }
    var (inputCount, outputCount) = (packed.count, target.count)
    while outputCount > 0 {
      let before = (inputCount, outputCount)
      guard minimind_decode(decoder, &input, &inputCount, &output, &outputCount, 1) == MINIMIND_DECODED else {
        return false
      }
      if before == (inputCount, outputCount) { return false }
    }
    // What is left of the input may only say that it ends.
    var rest: UInt8 = 0
    return withUnsafeMutablePointer(to: &rest) { place in
      var (more, room): (UnsafeMutablePointer<UInt8>?, Int) = (place, 1)
      return minimind_decode(decoder, &input, &inputCount, &more, &room, 1) == MINIMIND_DECODED && room == 1
    }
  }
}
