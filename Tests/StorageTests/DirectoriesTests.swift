import Foundation
import Storage
import TestSupport
import Testing

@Suite struct DirectoriesTests {
  @Test(
    "the parent of a path",
    arguments: [
      ("x", "."), ("model", "."), ("model/", "."), ("a/b", "a"), ("a/b/", "a"), ("a//", "."), ("./x", "."), ("/x", "/"),
      ("/", "/"), ("//", "/"), ("/a/b.c", "/a"), ("", "."), ("..", "."), ("é/b", "é"),
    ])
  func parent(path: String, expected: String) { #expect(parentDirectory(of: path) == expected) }
}

@Suite struct AtomicDirectoryTests {
  /// Writes a directory with one file.
  private func write(_ text: String, to path: String) throws {
    try AtomicDirectory.write(path) { try AtomicFile.write(text, to: $0 + "/file") }
  }

  @Test("a directory is written and replaced, however many slashes its path ends in", arguments: ["", "/", "//"])
  func slashes(end: String) throws {
    try withTemporaryDirectory { folder in
      for text in ["first", "second"] {
        try write(text, to: folder + "/out" + end)
        #expect(try content(of: folder + "/out/file") == text)
        #expect(try names(in: folder) == ["out"])
      }
    }
  }

  @Test(
    "a path that cannot be replaced is refused before the work",
    arguments: ["", ".", "./", "..", "x/.", "x/..", "/", "//", "/proc", "/proc//"])
  func notReplaceable(path: String) {
    let error = #expect(throws: FileError.self) {
      try AtomicDirectory.write(path) { _ in Issue.record("the work was done") }
    }
    #expect(error?.description.hasSuffix(". Name a directory inside it.") == true, "\(error?.description ?? "")")
  }

  @Test("a directory is replaced where two cannot be swapped", arguments: [EINVAL, ENOSYS, EOPNOTSUPP, EPERM])
  func withoutExchange(code: Int32) throws {
    try withTemporaryDirectory { folder in
      for text in ["first", "second", "third"] {
        var calls = DiskCalls()
        calls.exchange = { _, _ in
          errno = code
          return -1
        }
        try DiskCalls.$current.withValue(calls) { try write(text, to: folder + "/out") }
        #expect(try content(of: folder + "/out/file") == text)
        #expect(try names(in: folder) == ["out"])
      }
    }
  }

  @Test("a replacement that fails leaves what was there", arguments: [EACCES, EINVAL])
  func failedReplacement(code: Int32) throws {
    try withTemporaryDirectory { folder in
      try write("first", to: folder + "/out")
      var calls = DiskCalls()
      calls.exchange = { temporaryPath, _ in
        // So that the second of the renames fails, too.
        try? FileManager.default.removeItem(atPath: temporaryPath)
        errno = code
        return -1
      }
      #expect(throws: FileError.self) {
        try DiskCalls.$current.withValue(calls) { try write("second", to: folder + "/out") }
      }
      #expect(try content(of: folder + "/out/file") == "first")
      #expect(try names(in: folder) == ["out"])
    }
  }

  @Test("two writers of one path do not touch each other's work; the later one stays")
  func twoToOnePath() throws {
    try withTemporaryDirectory { folder in
      try AtomicDirectory.write(folder + "/out") { temporaryPath in
        try write("inner", to: folder + "/out")
        #expect(try content(of: folder + "/out/file") == "inner")
        try AtomicFile.write("outer", to: temporaryPath + "/file")
      }
      #expect(try content(of: folder + "/out/file") == "outer")
      #expect(try names(in: folder) == ["out"])
    }
  }

  @Test("after a crash between the renames the next write puts back what was there, whatever becomes of it")
  func cutShort() throws {
    struct Failure: Error {}
    try withTemporaryDirectory { folder in
      let (path, aside) = (folder + "/out", folder + "/out.partial-old")
      try write("first", to: aside)
      #expect(throws: Failure.self) { try AtomicDirectory.write(path) { _ in throw Failure() } }
      #expect(try content(of: path + "/file") == "first")
      #expect(try names(in: folder) == ["out"])

      // After a crash before the removal, the successor is in place.
      try write("older", to: aside)
      #expect(throws: Failure.self) { try AtomicDirectory.write(path) { _ in throw Failure() } }
      #expect(try content(of: path + "/file") == "first")
      #expect(try names(in: folder) == ["out"])

      try FileManager.default.moveItem(atPath: path, toPath: aside)
      try write("second", to: path)
      #expect(try content(of: path + "/file") == "second")
      #expect(try names(in: folder) == ["out"])
    }
  }
}

@Suite struct DirectoryLockTests {
  @Test("only a lock that is held is told as one")
  func failures() throws {
    try withTemporaryDirectory { folder in
      let unsupported = #expect(throws: FileError.self) {
        try DirectoryLock(
          folder,
          lock: { _, _ in
            errno = ENOLCK
            return -1
          })
      }
      #expect(unsupported == FileError("cannot lock", folder, errno: ENOLCK))

      var interruptions = 10
      let lock = try DirectoryLock(
        folder,
        lock: { descriptor, operation in
          guard interruptions > 0 else { return flock(descriptor, operation) }
          interruptions -= 1
          errno = EINTR
          return -1
        })
      let held = #expect(throws: FileError.self) { try DirectoryLock(folder) }
      #expect(held?.description.hasPrefix("\(folder) is in use by another minimind process.") == true)
      withExtendedLifetime(lock) {}
      #expect(interruptions == 0)
    }
  }
}
