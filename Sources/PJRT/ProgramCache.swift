import Foundation
import Storage

/// Compiled programs on disk, by what they were compiled from and by what: compiling takes seconds to minutes.
package struct ProgramCache: Sendable {
  /// Where the files are.
  package let folder: String

  /// - Parameter folder: made when it is first written to.
  package init(folder: String) { self.folder = folder }

  /// `minimind/programs` in the user's folder of caches.
  package static var ofUser: ProgramCache {
    let environment = ProcessInfo.processInfo.environment
    let caches = environment["XDG_CACHE_HOME"] ?? (environment["HOME"] ?? NSTemporaryDirectory()) + "/.cache"
    return ProgramCache(folder: caches + "/minimind/programs")
  }

  private func path(_ key: String) -> String { folder + "/" + key }

  /// The program of a key; nil where there is none, or a damaged one: a file begins with the digest of what follows.
  package func read(_ key: String) -> Data? {
    guard let data = FileManager.default.contents(atPath: path(key)), data.count > Self.digestBytes else { return nil }
    let content = data.dropFirst(Self.digestBytes)
    let digest = content.withUnsafeBytes { SHA256.hexadecimalDigest($0) }
    return data.prefix(Self.digestBytes) == Data(digest.utf8) ? Data(content) : nil
  }

  private static let digestBytes = 64

  /// - Throws: `FileError`.
  package func write(_ key: String, _ content: Data) throws {
    try createDirectory(folder)
    let digest = content.withUnsafeBytes { SHA256.hexadecimalDigest($0) }
    try AtomicFile.write(Array(digest.utf8) + content, to: path(key))
  }
}
