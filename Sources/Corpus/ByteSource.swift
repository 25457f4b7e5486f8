import CDecoding
import Foundation
import Storage

/// Bytes that are read from front to back.
protocol ByteSource: AnyObject {
  /// Reads at most as many bytes as there is room for.
  ///
  /// - Returns: how many; 0 at the end only.
  /// - Throws: `FileError` or `CorpusError`, with the file's name.
  func read(into room: UnsafeMutableRawBufferPointer) throws -> Int
  /// Bytes of the file that have been read so far: what progress is measured by.
  var fileBytesRead: Int { get }
}

/// A file, or a pipe of which the first bytes have been read.
final class DescriptorSource: ByteSource {
  let path: String
  let descriptor: Int32
  private var head: ArraySlice<UInt8>
  private(set) var fileBytesRead = 0

  /// Takes over the descriptor.
  init(_ descriptor: Int32, path: String, head: [UInt8] = []) {
    self.descriptor = descriptor
    self.path = path
    self.head = head[...]
  }

  deinit { close(descriptor) }

  func read(into room: UnsafeMutableRawBufferPointer) throws -> Int {
    if !head.isEmpty {
      let count = min(head.count, room.count)
      room.copyBytes(from: head.prefix(count))
      head = head.dropFirst(count)
      fileBytesRead += count
      return count
    }
    while true {
      let count = Foundation.read(descriptor, room.baseAddress, room.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw FileError("cannot read", path, errno: errno) }
      fileBytesRead += count
      return count
    }
  }
}

/// How the bytes of a file are compressed, judged by its first ones.
package enum Compression: String, Sendable, Equatable, Codable {
  case gzip, zstd

  init?(head: [UInt8]) {
    if head.starts(with: [0x1F, 0x8B]) {
      self = .gzip
    } else if head.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
      self = .zstd
    } else {
      return nil
    }
  }
}

/// What `source` gives, decompressed or as UTF-8. Memory: two buffers, and zstd's window of at most 128 MiB.
final class DecodedSource: ByteSource {
  private static let bufferBytes = 1 << 16

  private let source: any ByteSource
  private let path: String
  private let decoder: OpaquePointer
  private let kind: String
  private var input = [UInt8](repeating: 0, count: bufferBytes)
  private var inputRange = 0..<0
  private var isAtEnd = false
  private var output = [UInt8](repeating: 0, count: bufferBytes)
  private var outputRange = 0..<0

  init(_ source: any ByteSource, _ compression: Compression, path: String) {
    let decoder = compression == .gzip ? minimind_decoder_gzip() : minimind_decoder_zstd()
    guard let decoder else { fatalError("there is no memory for a decoder") }
    self.source = source
    self.path = path
    self.decoder = decoder
    kind = compression.rawValue
  }

  /// - Throws: `CorpusError` where the C library cannot convert the encoding.
  init(_ source: any ByteSource, _ encoding: TextEncoding, path: String) throws {
    guard let decoder = minimind_decoder_text(encoding.iconvName) else {
      throw CorpusError("\(path): this system's C library cannot convert \(encoding) to UTF-8.")
    }
    self.source = source
    self.path = path
    self.decoder = decoder
    kind = encoding.description
  }

  deinit { minimind_decoder_free(decoder) }

  var fileBytesRead: Int { source.fileBytesRead }

  func read(into room: UnsafeMutableRawBufferPointer) throws -> Int {
    while outputRange.isEmpty {
      let before = (input: inputRange.count, isAtEnd: isAtEnd)
      if !isAtEnd { try fillInput() }
      try decode()
      if outputRange.isEmpty && isAtEnd && before.isAtEnd && before.input == inputRange.count {
        guard minimind_decoder_may_end(decoder) == 1 else {
          throw CorpusError("\(path) ends in the middle of its \(kind) data: it is damaged or was copied in part.")
        }
        return 0
      }
    }
    let count = min(outputRange.count, room.count)
    room.copyBytes(from: output[outputRange.lowerBound..<outputRange.lowerBound + count])
    outputRange = outputRange.dropFirst(count)
    return count
  }

  private func fillInput() throws {
    let rest = Array(input[inputRange])
    input.replaceSubrange(0..<rest.count, with: rest)
    inputRange = 0..<rest.count
    let room = rest.count..<input.count
    guard !room.isEmpty else { return }
    let count = try input.withUnsafeMutableBytes {
      try source.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[room]))
    }
    if count == 0 { isAtEnd = true }
    inputRange = 0..<rest.count + count
  }

  private func decode() throws {
    let outcome = input.withUnsafeBufferPointer { input in
      output.withUnsafeMutableBufferPointer { output in
        var from = input.baseAddress.map { $0 + inputRange.lowerBound }
        var fromCount = inputRange.count
        var to = output.baseAddress
        var toCount = output.count
        let outcome = minimind_decode(decoder, &from, &fromCount, &to, &toCount, isAtEnd ? 1 : 0)
        inputRange = inputRange.upperBound - fromCount..<inputRange.upperBound
        outputRange = 0..<output.count - toCount
        return outcome
      }
    }
    switch outcome {
    case MINIMIND_DECODED: return
    case MINIMIND_DECODING_WINDOW_TOO_LARGE:
      throw CorpusError(
        "\(path) was compressed with a window of more than 128 MiB (zstd --long). Decompress it with: zstd -d --long=31 FILE"
      )
    case MINIMIND_DECODING_NO_MEMORY: throw CorpusError("\(path): there is not enough memory to decompress it.")
    default: throw CorpusError("\(path): the \(kind) data are damaged.")
    }
  }
}
