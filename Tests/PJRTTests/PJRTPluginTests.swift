import Foundation
import PJRT
import Programs
import TestSupport
import Testing

/// How plugins are found, and what is said of those that cannot be used.
@Suite("Plugins")
struct PJRTPluginTests {
  @Test("a plugin is the one that is named, or that of an installed JAX, the newest first")
  func found() throws {
    try withTemporaryDirectory { folder in
      #expect(try PJRTPlugin.find(environment: [PJRTPlugin.variable: "/some/plugin.so"]) == "/some/plugin.so")
      let packages = folder + "/lib/python3.11/site-packages"
      for version in ["xla_cuda12", "xla_cuda13"] {
        try FileManager.default.createDirectory(
          atPath: "\(packages)/jax_plugins/\(version)", withIntermediateDirectories: true)
        let path = "\(packages)/jax_plugins/\(version)/xla_cuda_plugin.so"
        try Data().write(to: URL(fileURLWithPath: path))
        #expect(try PJRTPlugin.find(environment: ["VIRTUAL_ENV": folder]) == path)
      }
    }
  }

  @Test("without one, the places are named in which it was looked for")
  func missing() throws {
    try withTemporaryDirectory { folder in
      let packages = folder + "/lib/python3.11/site-packages"
      try FileManager.default.createDirectory(atPath: packages, withIntermediateDirectories: true)
      let error = #expect(throws: PJRTError.self) { try PJRTPlugin.find(environment: ["VIRTUAL_ENV": folder]) }
      #expect(error?.description.contains(packages) == true)
      #expect(error?.description.contains("MINIMIND_PJRT_PLUGIN") == true)
    }
  }

  @Test("a file that is no plugin is refused, with its name and why")
  func refused() throws {
    try withTemporaryDirectory { folder in
      let text = folder + "/text.so"
      try Data("no library".utf8).write(to: URL(fileURLWithPath: text))
      for (path, reason) in [
        (folder + "/none.so", "No such file"), (text, "file too short"), ("libm.so.6", "no plugin of PJRT"),
      ] {
        let error = #expect(throws: PJRTError.self) { _ = try PJRTRunner(plugin: path, cache: nil) }
        #expect(error?.description.contains(path) == true && error?.description.contains(reason) == true)
      }
    }
  }

  @Test(
    "a kernel is tried once; a trial that does not end is one that has failed; the file can be removed to try again")
  func verdicts() throws {
    try withTemporaryDirectory { folder in
      let cache = ProgramCache(folder: folder + "/programs")
      var trials = 0
      func verdict(_ verdicts: AttentionVerdicts, _ result: AttentionVerdict = .works(difference: 0.5))
        -> AttentionVerdict
      {
        verdicts.verdict("key") {
          trials += 1
          return result
        }
      }
      // As another process finds it that starts while this one's trial has not ended.
      let first = AttentionVerdicts(cache: cache)
      _ = first.verdict("key") {
        let found = verdict(AttentionVerdicts(cache: cache))
        #expect(!found.works && "\(found)".contains("did not end (remove \(cache.folder)/key to try it again)"))
        return .works(difference: 0.25)
      }
      #expect(trials == 0 && verdict(first) == .works(difference: 0.25))
      #expect(verdict(AttentionVerdicts(cache: cache)) == .works(difference: 0.25) && trials == 0)
      // One that the device does not survive.
      try FileManager.default.removeItem(atPath: cache.folder + "/key")
      let second = AttentionVerdicts(cache: cache)
      let failed = second.verdict("key") { throw PJRTError.failed(step: "run a program", reason: "lost") }
      #expect(
        "\(failed)".contains("lost. (remove ") && verdict(AttentionVerdicts(cache: cache)) == failed && trials == 0)
      // Without a place to keep it, each process tries for itself.
      #expect(
        verdict(AttentionVerdicts(cache: nil)).works && verdict(AttentionVerdicts(cache: nil)).works && trials == 2)
    }
  }

  @Test("a file of the cache that was damaged anywhere is not there")
  func cache() throws {
    try withTemporaryDirectory { folder in
      let cache = ProgramCache(folder: folder + "/programs")
      #expect(cache.read("a") == nil)
      let content = Data((0..<100).map { UInt8($0) })
      try cache.write("a", content)
      #expect(cache.read("a") == content && cache.read("b") == nil)
      let file = URL(fileURLWithPath: cache.folder + "/a")
      let whole = try Data(contentsOf: file)
      for place in whole.indices {
        var damaged = whole
        damaged[place] ^= 1
        try damaged.write(to: file)
        #expect(cache.read("a") == nil)
        try whole.prefix(place).write(to: file)
        #expect(cache.read("a") == nil)
      }
    }
  }
}
