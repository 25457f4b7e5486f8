import Foundation
import Machine

/// The processor cores that this process may use, when other processes of its group compute on the same machine.
package struct CoreShare: Equatable, Sendable {
  /// Cores that this process may run on.
  package let allowed: Int
  /// Its share of the cores that the group has on this machine.
  package let fair: Int

  /// - Parameters:
  ///   - machine: cores that the group has on this machine.
  ///   - allowed: cores that this process may run on.
  ///   - processes: how many of the group are on this machine.
  package init(machine: Int, allowed: Int, processes: Int) {
    self.allowed = max(1, min(allowed, machine))
    fair = max(1, machine / processes)
  }

  /// Threads that take no core from the other processes. Cores that the process is bound to are its own already.
  package var threads: Int { min(allowed, fair) }

  /// Whether it is bound to fewer cores than its share.
  package var isBound: Bool { allowed < fair }

  /// The share of this process. The system is asked for the cores it is bound to, since Foundation counts the
  /// machine's.
  package static var own: CoreShare {
    let allowed = status("self", "Cpus_allowed_list").flatMap(count(inList:)) ?? Processor.coreCount
    guard let processes = Launcher.localCount else {
      return CoreShare(machine: min(allowed, Processor.coreCount), allowed: allowed, processes: 1)
    }
    // The launcher's own cores, which a container or scheduler may limit, are what its processes share.
    let machine = launcher.flatMap { status($0, "Cpus_allowed_list") }.flatMap(count(inList:)) ?? Processor.coreCount
    return CoreShare(machine: min(machine, Processor.coreCount), allowed: allowed, processes: processes)
  }

  private static let launcherNames = ["mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"]

  /// The process that has started the group on this machine; nil where none is found.
  private static var launcher: String? {
    var process = "self"
    while let parent = status(process, "PPid"), parent != "0" {
      // Between it and this process there may be a shell.
      if launcherNames.contains(status(parent, "Name") ?? "") { return parent }
      process = parent
    }
    return nil
  }

  /// A line of what the system says of a process.
  private static func status(_ process: String, _ name: String) -> String? {
    let text = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line.map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
  }

  /// How many numbers a list like "0-3,8" has; nil where it is none.
  package static func count(inList list: String) -> Int? {
    var count = 0
    for item in list.split(separator: ",") {
      let ends = item.split(separator: "-").compactMap { Int($0) }
      guard let first = ends.first, let last = ends.last, first <= last else { return nil }
      count += last - first + 1
    }
    return count > 0 ? count : nil
  }
}
