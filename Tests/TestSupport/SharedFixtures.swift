import Foundation
import Storage

/// Files that are not part of the repository: `$MINIMIND_SHARED`, or `../shared` beside the checkout.
///
/// A test that needs one of them uses `.enabled(if: SharedFixtures.has("…"), "reason")`,
/// so that a run without them says that the test was skipped and why.
public enum SharedFixtures {
  public static let directory: String =
    ProcessInfo.processInfo.environment["MINIMIND_SHARED"]
    ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared").path

  public static func path(_ name: String) -> String { directory + "/" + name }

  public static func has(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: path(name))
  }
}

/// A directory that is removed when `body` returns or throws.
public func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
  let path = NSTemporaryDirectory() + "/minimind-test-" + UUID().uuidString
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try body(path)
}

/// The generator of random tests: seeded, so that a failing case can be repeated.
package typealias SeededGenerator = SplitMix64
