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
  static func kilobytes(_ name: String, in path: String) -> Int? {
    let text = try? String(contentsOfFile: path, encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }
  }

  /// Bytes that new work can use without swapping: what the kernel reports as available, or what the limits of this process
  /// and of its control groups leave. Nil where the system does not say.
  package static var availableBytes: Int? {
    guard let kilobytes = kilobytes("MemAvailable", in: "/proc/meminfo") else { return nil }
    return ([kilobytes * 1024] + limitedBytes + ControlGroup.ownAndParents.compactMap(\.availableBytes)).min()
  }

  /// What `ulimit -v` and `ulimit -d` leave.
  private static var limitedBytes: [Int] {
    #if os(Linux)
      let limits = [(RLIMIT_AS, "VmSize"), (RLIMIT_DATA, "VmData")]
      return limits.compactMap { resource, name in
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max),
          let used = kilobytes(name, in: "/proc/self/status")
        else { return nil }
        return max(0, Int(limit.rlim_cur) - used * 1024)
      }
    #else
      return []
    #endif
  }
}
