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

/// A small seeded generator (SplitMix64), so that a failing random case can be repeated from its seed.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  var state: UInt64
  public init(seed: UInt64) { state = seed }
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
