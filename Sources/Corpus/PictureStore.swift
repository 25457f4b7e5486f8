import Foundation
import Storage

/// The prepared pictures of a data set while it is made: each one once, on the disk, in a file beside the shards.
///
/// Threads add pictures in any order; the file that is left has them in the order in which documents that are kept use them, so
/// it does not depend on the number of threads.
///
/// - Unchecked Sendable: everything that changes is read and written with `lock` held.
final class PictureStore: @unchecked Sendable {
  struct Entry: Sendable {
    /// Its number in the store.
    let number: Int
    /// SHA-256 of its bytes.
    let digest: [UInt8]
  }

  private let lock = NSLock()
  private let path: String
  private let descriptor: Int32
  let side: Int
  private var numbers: [[UInt8]: Int] = [:]
  /// [pictures of the store] their numbers in the file that is left; -1 for those that no document uses so far.
  private var finalNumbers: [Int] = []
  /// [pictures of the file]
  private var order: [Int] = []
  /// Why a picture could not be written: no row's fault.
  private var failure: FileError?

  private var pictureBytes: Int { 3 * side * side }

  /// - Parameter directory: one that becomes visible only when everything is in it.
  init(directory: String, side: Int) throws(FileError) {
    path = directory + "/pictures.waiting"
    self.side = side
    descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw FileError("cannot create", path, errno: errno) }
    // It lives as long as it is open, and no crash leaves it.
    unlink(path)
  }

  deinit { close(descriptor) }

  /// - Parameter planes: [3, side, side]
  /// - Throws: `RowProblem` when the disk is full.
  func add(_ planes: [UInt8]) throws(RowProblem) -> Entry {
    let digest = planes.withUnsafeBytes { SHA256.digest($0) }
    lock.lock()
    defer { lock.unlock() }
    if let number = numbers[digest] { return Entry(number: number, digest: digest) }
    let number = finalNumbers.count
    let isWritten = planes.withUnsafeBytes { bytes in
      transfer(bytes.count) {
        pwrite(descriptor, bytes.baseAddress! + $0, bytes.count - $0, off_t(number * pictureBytes + $0))
      }
    }
    guard isWritten else {
      let error = FileError("cannot write", path, errno: errno)
      failure = failure ?? error
      throw RowProblem(error.description)
    }
    numbers[digest] = number
    finalNumbers.append(-1)
    return Entry(number: number, digest: digest)
  }

  /// The number that a picture has in the file, from the first document on that uses it.
  func finalNumber(_ number: Int) -> Int {
    lock.lock()
    defer { lock.unlock() }
    if finalNumbers[number] < 0 {
      finalNumbers[number] = order.count
      order.append(number)
    }
    return finalNumbers[number]
  }

  /// Pictures that an encoder gets at a time.
  private static let encodedTogether = 64

  /// Writes the pictures that documents use, or their features. No thread may add others any more.
  ///
  /// - Parameters:
  ///   - settings: those with which they were prepared.
  ///   - isStopRequested: asked between features.
  ///   - progress: called with the pictures that are written.
  /// - Throws: `FileError`, for what could not be written before as well; what the encoder throws; `PreparationStopped`.
  /// - Returns: how many there are, and SHA-256 of their bytes in hexadecimal.
  func write(
    to path: String, _ settings: PictureSettings, isStopRequested: () -> Bool,
    progress: (_ done: Int, _ total: Int) -> Void
  ) throws -> (count: Int, digest: String) {
    if let failure { throw failure }
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw FileError("cannot create", path, errno: errno) }
    defer { close(file) }
    func write(_ bytes: [UInt8]) throws {
      let isWritten = bytes.withUnsafeBytes { bytes in
        transfer(bytes.count) { Foundation.write(file, bytes.baseAddress! + $0, bytes.count - $0) }
      }
      guard isWritten else { throw FileError("cannot write", path, errno: errno) }
    }
    try write(PictureFile.header(side: side, count: order.count, settings.features?.layout))
    let hash = SHA256()
    func add(_ bytes: [UInt8]) throws {
      bytes.withUnsafeBytes { hash.update($0) }
      try write(bytes)
    }
    if let features = settings.features, !order.isEmpty {
      let encode = try features.makeEncoder()
      for start in stride(from: 0, to: order.count, by: Self.encodedTogether) {
        if isStopRequested() { throw PreparationStopped() }
        progress(start, order.count)
        let part = order[start..<min(start + Self.encodedTogether, order.count)]
        let pixels = try part.map { settings.processor.values(ofPlanes: try planes($0)) }
        for values in try encode(pixels) { try add(features.layout.bytes(values)) }
      }
      progress(order.count, order.count)
    } else {
      for number in order { try add(try planes(number)) }
    }
    guard fsync(file) == 0 else { throw FileError("cannot write", path, errno: errno) }
    return (order.count, SHA256.hexadecimal(hash.finalize()))
  }

  /// [3, side, side] of a picture of the store.
  private func planes(_ number: Int) throws(FileError) -> [UInt8] {
    var planes = [UInt8](repeating: 0, count: pictureBytes)
    let isRead = planes.withUnsafeMutableBytes { bytes in
      transfer(bytes.count) {
        pread(descriptor, bytes.baseAddress! + $0, bytes.count - $0, off_t(number * pictureBytes + $0))
      }
    }
    guard isRead else { throw FileError("cannot read", path, errno: errno) }
    return planes
  }
}
