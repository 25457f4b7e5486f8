import Foundation

/// The memory of this machine, and of this process.
package enum MachineMemory {
  /// The memory of the machine, in bytes.
  package static var totalBytes: Int { Int(clamping: ProcessInfo.processInfo.physicalMemory) }

  /// The most memory that this process has held at once, in bytes.
  package static var peakBytes: Int {
    // The peak of getrusage counts the process that started this one, up to the moment when it became this program.
    if let kilobytes = kilobytes("VmHWM", in: "/proc/self/status") { return kilobytes * 1024 }
    var usage = rusage()
    #if os(Linux)
      getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
      return usage.ru_maxrss * 1024
    #else
      getrusage(RUSAGE_SELF, &usage)
      return usage.ru_maxrss
    #endif
  }

  /// The memory that this process holds at the moment, in bytes; 0 where the system does not say.
  package static var residentBytes: Int { (kilobytes("VmRSS", in: "/proc/self/status") ?? 0) * 1024 }

  /// The number on the line "NAME: NUMBER kB" of a file that the kernel writes; nil where there is none.
  private static func kilobytes(_ name: String, in path: String) -> Int? {
    let text = try? String(contentsOfFile: path, encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }
  }

  /// Bytes that new work can use without swapping: what the kernel reports as available, or what a container's limit
  /// leaves. Nil where the system does not say.
  package static var availableBytes: Int? {
    guard let kilobytes = kilobytes("MemAvailable", in: "/proc/meminfo") else { return nil }
    func number(_ path: String) -> Int? {
      (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
        Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    // Control groups, version 2: "max" is no number and means no limit.
    guard let limit = number("/sys/fs/cgroup/memory.max"), let used = number("/sys/fs/cgroup/memory.current") else {
      return kilobytes * 1024
    }
    // Cached files count as used there, but are reclaimed on demand.
    let statistics = (try? String(contentsOfFile: "/sys/fs/cgroup/memory.stat", encoding: .utf8)) ?? ""
    let cached = statistics.split(separator: "\n").reduce(0) { total, line in
      let isFile = line.hasPrefix("active_file ") || line.hasPrefix("inactive_file ")
      return total + (isFile ? line.split(separator: " ").last.flatMap { Int($0) } ?? 0 : 0)
    }
    return min(kilobytes * 1024, max(0, limit - used + cached))
  }
}
