import Foundation
import Storage

/// Whole lines of a file or of standard input, some megabytes at a time.
struct LineBatches {
  let name: String
  private let descriptor: Int32
  private var pending: [UInt8] = []
  private var isAtEnd = false
  private static let batchBytes = 1 << 22

  /// - Parameter path: a file, or nil for standard input.
  init(_ path: String?) throws {
    name = path ?? "standard input"
    guard let path else {
      descriptor = STDIN_FILENO
      return
    }
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
  }

  func close() { if descriptor != STDIN_FILENO { Foundation.close(descriptor) } }

  /// The next lines, without their ends; nil after the last. A final line may lack its end.
  mutating func next() throws -> [ArraySlice<UInt8>]? {
    while !isAtEnd && (pending.count < Self.batchBytes || pending.lastIndex(of: 0x0A) == nil) {
      let start = pending.count
      pending.append(contentsOf: repeatElement(0, count: Self.batchBytes))
      let count = pending.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + start, Self.batchBytes) }
      pending.removeLast(Self.batchBytes - max(0, count))
      if count < 0 && errno != EINTR { throw FileError("cannot read", name, errno: errno) }
      if count == 0 { isAtEnd = true }
    }
    guard !pending.isEmpty else { return nil }
    let end = isAtEnd ? pending.count : pending.lastIndex(of: 0x0A)! + 1
    var lines: [ArraySlice<UInt8>] = []
    let batch = pending[..<end]
    var start = batch.startIndex
    while start < end {
      let stop = batch[start...].firstIndex(of: 0x0A) ?? end
      lines.append(batch[start..<stop])
      start = stop + 1
    }
    pending = Array(pending[end...])
    return lines
  }
}

/// Calls `body` for every index below `count`, on up to `threads` threads, and collects the results in order.
func mapConcurrently<Result: Sendable>(
  count: Int, threads: Int, _ body: @Sendable (Int) throws -> Result
) throws -> [Result] {
  let shares = min(threads, count)
  var results = [Swift.Result<[Result], any Error>?](repeating: nil, count: shares)
  results.withUnsafeMutableBufferPointer { buffer in
    // SAFETY: each iteration writes its own element, and all end before this returns.
    nonisolated(unsafe) let buffer = buffer
    DispatchQueue.concurrentPerform(iterations: shares) { share in
      buffer[share] = Swift.Result { try (count * share / shares..<count * (share + 1) / shares).map(body) }
    }
  }
  return try results.flatMap { try $0!.get() }
}
