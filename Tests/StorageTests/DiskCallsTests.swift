import Foundation
import Storage
import TestSupport
import Testing

@Suite("Disks that cannot do everything")
struct DiskCallsTests {
  private func on<Result>(_ kind: DiskKind, _ body: () throws -> Result) rethrows -> Result {
    try DiskCalls.$current.withValue(kind.calls, operation: body)
  }

  @Test("files and directories are written and replaced, and nothing is left beside them", arguments: DiskKind.allCases)
  func writing(_ kind: DiskKind) throws {
    try withTemporaryDirectory { folder in
      try on(kind) {
        for text in ["first", "second", "third"] {
          try AtomicFile.write(text, to: folder + "/file")
          #expect(try content(of: folder + "/file") == text)
          try AtomicDirectory.write(folder + "/out") { try AtomicFile.write(text, to: $0 + "/file") }
          #expect(try content(of: folder + "/out/file") == text)
          #expect(try names(in: folder) == ["file", "out"])
        }
        try AtomicDirectory.remove(folder + "/out")
        #expect(try names(in: folder) == ["file"])
      }
    }
  }

  @Test("a directory that is being replaced is there as a whole at any moment", arguments: DiskKind.allCases)
  func crash(_ kind: DiskKind) throws {
    try withTemporaryDirectory { folder in
      let path = folder + "/disk/out"
      try AtomicDirectory.write(path) { try AtomicFile.write("first", to: $0 + "/file") }
      let snapshots = try Snapshots(of: folder + "/disk", in: folder + "/snapshots")
      try DiskCalls.$current.withValue(kind.calls.observed { snapshots.take() }) {
        try AtomicDirectory.write(path) { try AtomicFile.write("second", to: $0 + "/file") }
      }
      #expect(snapshots.paths.count >= 2)
      for snapshot in snapshots.paths {
        let copy = snapshot + "/out"
        let found = try content(of: AtomicDirectory.readablePath(copy) + "/file")
        #expect(["first", "second"].contains(found))
        on(kind) { AtomicDirectory.finishReplacement(of: copy) }
        #expect(try content(of: copy + "/file") == found)
        #expect(AtomicDirectory.readablePath(copy) == copy)
      }
    }
  }

  @Test("a successor that is whole takes the place of what is half removed")
  func halfRemoved() throws {
    try withTemporaryDirectory { folder in
      let path = folder + "/out"
      try createDirectory(path + "/rest")
      try createDirectory(path + ".partial-new")
      try AtomicFile.write("second", to: path + ".partial-new/file")
      #expect(AtomicDirectory.readablePath(path + "/") == path + ".partial-new")
      AtomicDirectory.finishReplacement(of: path)
      #expect(try names(in: folder) == ["out"])
      #expect(try names(in: path) == ["file"])
    }
  }

  @Test("a renaming that was not done is no success, whatever is at its end")
  func notRenamed() throws {
    try withTemporaryDirectory { folder in
      try AtomicFile.write("first", to: folder + "/file")
      var calls = DiskCalls()
      calls.rename = { _, _ in
        errno = ENOENT
        return -1
      }
      let error = #expect(throws: FileError.self) {
        try DiskCalls.$current.withValue(calls) { try AtomicFile.write("second", to: folder + "/file") }
      }
      #expect(error?.description.hasPrefix("cannot create \(folder)/file:") == true)
      #expect(try content(of: folder + "/file") == "first")
      #expect(try names(in: folder) == ["file"])
    }
  }

  @Test("a name leads to a directory by a link or a file", arguments: [EPERM, ENOSYS, EOPNOTSUPP, EINVAL, EACCES])
  func links(code: Int32) throws {
    try withTemporaryDirectory { folder in
      let path = folder + "/best"
      for name in ["step-1", "step-2"] { try createDirectory(folder + "/" + name) }
      var calls = DiskCalls()
      calls.symlink = { _, _ in
        errno = code
        return -1
      }
      func check(_ name: String, isFile: Bool) throws {
        #expect(AtomicLink.target(of: path) == name)
        #expect(AtomicLink.followed(path + "/") == (isFile ? folder + "/" + name : path + "/"))
        #expect(try names(in: folder) == ["best", "step-1", "step-2"])
      }
      try AtomicLink.write("step-1", at: path)
      try check("step-1", isFile: false)
      // The same run on another disk, and back; and a copy whose links were followed.
      try DiskCalls.$current.withValue(calls) {
        try AtomicLink.write("step-2", at: path)
        try check("step-2", isFile: true)
        try AtomicLink.write("step-1", at: path)
        try check("step-1", isFile: true)
      }
      try AtomicLink.write("step-2", at: path)
      try check("step-2", isFile: false)
      try FileManager.default.removeItem(atPath: path)
      try createDirectory(path + "/model")
      try DiskCalls.$current.withValue(calls) { try AtomicLink.write("step-1", at: path) }
      try check("step-1", isFile: true)
    }
  }

  @Test("a file that is no link leads nowhere")
  func noLinks() throws {
    try withTemporaryDirectory { folder in
      try createDirectory(folder + "/step-1")
      for text in ["", "step-1", "step-2\n", "../x\n", "step-1\nstep-1\n", String(repeating: "x", count: 300) + "\n"] {
        try AtomicFile.write(text, to: folder + "/best")
        #expect(AtomicLink.followed(folder + "/best") == folder + "/best")
      }
      #expect(AtomicLink.followed(folder + "/nothing") == folder + "/nothing")
    }
  }

  @Test("a tree of files is shared where files have second names, and copied elsewhere", arguments: DiskKind.allCases)
  func sharing(_ kind: DiskKind) throws {
    try withTemporaryDirectory { folder in
      let large = String(repeating: "0123456789abcdef", count: 1 << 20 | 1)
      try createDirectory(folder + "/from/inner")
      try AtomicFile.write(large, to: folder + "/from/large")
      try AtomicFile.write("small", to: folder + "/from/inner/small")
      try AtomicFile.write("", to: folder + "/from/inner/empty")
      try on(kind) { try linkOrCopy(contentsOf: folder + "/from", to: folder + "/to") }
      for name in ["large", "inner/small", "inner/empty"] {
        #expect(try content(of: folder + "/to/" + name) == content(of: folder + "/from/" + name))
        var status = stat()
        #expect(stat(folder + "/from/" + name, &status) == 0 && (status.st_nlink == 2) == (kind != .withoutLinks))
      }
      #expect(try names(in: folder + "/to/inner") == ["empty", "small"])
      #expect(on(kind) { canLinkFiles(in: folder) } == (kind != .withoutLinks))
      #expect(try names(in: folder) == ["from", "to"])
    }
  }
}
