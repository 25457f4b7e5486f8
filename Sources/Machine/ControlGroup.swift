import Foundation

/// A control group of Linux that bounds the memory of this process: a container's, a scheduler's or systemd's.
///
/// Format: https://docs.kernel.org/admin-guide/cgroup-v2.html, and cgroup-v1/memory.html for the first version.
package struct ControlGroup {
  private let directory: String
  /// The names of the files of this version.
  private let limitFile: String
  private let usedFile: String

  /// The groups of this process, the innermost first. A container sees its own as the root.
  static var ownAndParents: [ControlGroup] {
    let text = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
    return groups(memberships: text, root: "/sys/fs/cgroup")
  }

  /// - Parameters:
  ///   - memberships: lines "NUMBER:CONTROLLERS:PATH", as in /proc/self/cgroup.
  ///   - root: where the file system of control groups is mounted.
  package static func groups(memberships: String, root: String) -> [ControlGroup] {
    memberships.split(separator: "\n").flatMap { line -> [ControlGroup] in
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { return [] }
      let isSecond = parts[1].isEmpty
      guard isSecond || parts[1].split(separator: ",").contains("memory") else { return [] }
      let base = isSecond ? root : root + "/memory"
      let names = parts[2].split(separator: "/")
      return (0...names.count).reversed().map { count in
        let directory = ([base] + names.prefix(count).map(String.init)).joined(separator: "/")
        return isSecond
          ? ControlGroup(directory: directory, limitFile: "memory.max", usedFile: "memory.current")
          : ControlGroup(directory: directory, limitFile: "memory.limit_in_bytes", usedFile: "memory.usage_in_bytes")
      }
    }
  }

  /// Bytes that the group's limit leaves; nil where it has none.
  package var availableBytes: Int? {
    // "max" is no number and means no limit.
    guard let limit = number(limitFile), let used = number(usedFile) else { return nil }
    // Cached files count as used there, but are reclaimed on demand.
    let statistics = (try? String(contentsOfFile: directory + "/memory.stat", encoding: .utf8)) ?? ""
    let cached = statistics.split(separator: "\n").reduce(0) { total, line in
      let isFile = line.hasPrefix("active_file ") || line.hasPrefix("inactive_file ")
      return total + (isFile ? line.split(separator: " ").last.flatMap { Int($0) } ?? 0 : 0)
    }
    return max(0, limit - used + cached)
  }

  private func number(_ name: String) -> Int? {
    (try? String(contentsOfFile: directory + "/" + name, encoding: .utf8)).flatMap {
      Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }
}
