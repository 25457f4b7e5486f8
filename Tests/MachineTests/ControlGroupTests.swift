import Foundation
import TestSupport
import Testing

import Machine

@Suite("Limits of control groups")
struct ControlGroupTests {
  @Test("the group that has the least left decides, one above this process's, too", arguments: [1, 2])
  func nested(version: Int) throws {
    try withTemporaryDirectory { folder in
      let names = version == 2 ? ["memory.max", "memory.current"] : ["memory.limit_in_bytes", "memory.usage_in_bytes"]
      let root = version == 2 ? folder : folder + "/memory"
      func write(_ limit: String, _ used: Int, cached: Int, _ group: String) throws {
        let directory = root + group
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        for (name, text) in zip(names, [limit, String(used)]) {
          try text.write(toFile: directory + "/" + name, atomically: true, encoding: .utf8)
        }
        let statistics = "anon \(used - cached)\nactive_file \(cached)\n"
        try statistics.write(toFile: directory + "/memory.stat", atomically: true, encoding: .utf8)
      }
      try write(version == 2 ? "max" : "9223372036854771712", 0, cached: 0, "")
      try write("1000", 900, cached: 50, "/job")
      try write("5000", 100, cached: 0, "/job/step")
      let line = version == 2 ? "0::/job/step\n" : "4:cpu,memory:/job/step\n2:cpuset:/other\n"
      let left = ControlGroup.groups(memberships: line, root: folder).map(\.availableBytes)
      #expect(left.first == 4900 && left.dropFirst().first == 150 && left.count == 3)
      #expect(ControlGroup.groups(memberships: "", root: folder).isEmpty)
    }
  }
}
