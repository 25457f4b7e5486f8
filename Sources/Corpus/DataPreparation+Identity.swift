import Foundation
import Processes
import Storage

extension DataPreparation {
  /// Compares in all processes what they are about to prepare: each reads its own files, and a mixture of two results
  /// would look like one.
  ///
  /// - Throws: `ProcessError` in all processes when one of them would prepare something else.
  func checkIsSame(_ exchange: ProcessExchange) throws {
    if exchange.isAlone { return }
    var facts = task.filters.reduce(into: [:]) { facts, filter in facts["--" + filter.key] = filter.value }
    facts["kind of data"] = task.kind.rawValue
    facts["tokenizer"] = String(tokenizer.contentHash.prefix(16))
    facts["--seed"] = String(seed)
    facts["--held-out"] = String(heldOutFraction)
    facts["--deduplicate"] = String(dropsDuplicates)
    facts["--strict"] = String(isStrict)
    do { facts["input files"] = try inputIdentity() } catch { facts["input files"] = "\(error)" }
    try exchange.requireSame(
      facts, making: "result",
      advice: "Start all with the same options, and let all machines see the same tokenizer and input.")
  }

  /// Number, size and a digest of the input, of each file of some pieces alone: reading all of it would take as long as
  /// the work.
  private func inputIdentity() throws -> String {
    let hash = SHA256()
    for file in files {
      let settings = "\(file.byteCount) \(file.format) \(file.encoding) \(file.separator)"
      Array(settings.utf8).withUnsafeBytes { hash.update($0) }
      // The path says nothing: on each machine it may be another one.
      try file.forEachSamplePiece { hash.update($0) }
    }
    let count = files.count == 1 ? "1 file" : "\(files.count) files"
    return "\(count), \(formatBytes(totalBytes)), \(SHA256.hexadecimal(hash.finalize()).prefix(16))"
  }
}

extension InputFile {
  private static let pieces = 16
  private static let pieceBytes = 4096

  /// Calls `body` with pieces of the file that lie at equal distances, its beginning and its end among them.
  fileprivate func forEachSamplePiece(_ body: (UnsafeRawBufferPointer) -> Void) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError("cannot open", path, errno: errno) }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: Self.pieceBytes)
    let last = max(0, byteCount - Self.pieceBytes)
    for piece in 0..<(last == 0 ? 1 : Self.pieces) {
      let start = last / (Self.pieces - 1) * piece
      let offset = piece == Self.pieces - 1 ? last : start
      let count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
      guard count >= 0 else { throw FileError("cannot read", path, errno: errno) }
      buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
  }
}
