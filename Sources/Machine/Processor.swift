import Foundation

/// The processor of this machine.
package enum Processor {
  /// Its name as the system gives it.
  package static var name: String { cpuinfo("model name") ?? "unknown processor" }

  /// Cores of the machine, or of the part of it that a container may use.
  package static var coreCount: Int { ProcessInfo.processInfo.activeProcessorCount }

  /// The instruction sets that matter for this program, by their names in /proc/cpuinfo; empty where the system does
  /// not report them.
  package static var instructionSets: [String] {
    let flags = Set((cpuinfo("flags") ?? cpuinfo("Features") ?? "").split(separator: " ").map(String.init))
    return [
      "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile",
      "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm", "sve",
    ].filter(flags.contains)
  }

  private static func cpuinfo(_ key: String) -> String? {
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else { return nil }
    let line = text.split(separator: "\n").first { $0.hasPrefix(key) }
    return line?.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
  }
}
