import Foundation
import Storage
import TestSupport
import Testing

/// The text of a file.
func content(of path: String) throws -> String { String(decoding: try MappedFile.contents(of: path), as: UTF8.self) }

func names(in directory: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
}

@Suite struct AtomicFileTests {
  @Test("a file is written through a symbolic link, also to where there is none yet", arguments: [true, false])
  func symbolicLink(isAbsolute: Bool) throws {
    try withTemporaryDirectory { folder in
      try createDirectory(folder + "/elsewhere")
      let (link, file) = (folder + "/link", folder + "/elsewhere/file")
      let destination = isAbsolute ? file : "elsewhere/file"
      try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: destination)
      for text in ["first", "second"] {
        try AtomicFile.write(text, to: link)
        #expect(try content(of: file) == text)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == destination)
      }
      #expect(try names(in: folder) == ["elsewhere", "link"])
      #expect(try names(in: folder + "/elsewhere") == ["file"])
    }
  }

  @Test("files that are one result appear together, and not at all without a commit")
  func several() throws {
    try withTemporaryDirectory { folder in
      for isCommitted in [false, true] {
        let files = try ["a", "b"].map { try AtomicFile(folder + "/" + $0) }
        for file in files { try file.write("text") }
        #expect(try names(in: folder).allSatisfy { $0.contains(".partial-") })
        if isCommitted { try AtomicFile.commit(files) }
      }
      #expect(try names(in: folder) == ["a", "b"])
    }
  }

  @Test("what is no regular file is not replaced by one")
  func notRegular() throws {
    try withTemporaryDirectory { folder in
      let made = mkfifo(folder + "/pipe", 0o600)
      #expect(made == 0)
      try createDirectory(folder + "/directory")
      let links = [("device", "/dev/null"), ("link", "pipe"), ("circle", "circle")]
      for (name, destination) in links {
        try FileManager.default.createSymbolicLink(atPath: folder + "/" + name, withDestinationPath: destination)
      }
      let before = try names(in: folder)
      for name in before {
        let path = folder + "/" + name
        let error = #expect(throws: FileError.self) { try AtomicFile.write("text", to: path) }
        let expected =
          switch name {
          case "directory": FileError("cannot create", path, errno: EISDIR)
          case "circle": FileError("cannot create", path, errno: ELOOP)
          default: FileError("cannot create \(path): it is not a regular file. Choose another path.")
          }
        #expect(error == expected)
      }
      #expect(try names(in: folder) == before)
      var status = stat()
      lstat(folder + "/pipe", &status)
      let kind = status.st_mode & S_IFMT
      #expect(kind == S_IFIFO)
    }
  }

  @Test("two files on their way to one path do not mix")
  func twoToOnePath() throws {
    try withTemporaryDirectory { folder in
      let path = folder + "/file"
      let first = try AtomicFile(path)
      let second = try AtomicFile(path)
      try first.write("first")
      try second.write("the second")
      try second.commit()
      #expect(try content(of: path) == "the second")
      try first.commit()
      #expect(try content(of: path) == "first")
      #expect(try names(in: folder) == ["file"])
    }
  }

  @Test("what a killed writer has left is removed, and nothing else")
  func abandoned() throws {
    try withTemporaryDirectory { folder in
      // No process has so large a number.
      let gone = "file.partial-\(Int32.max)"
      let held = gone + "-7"
      let removed = [gone + "-0", gone + "-0.Xq3bZ9", "file.partial-\(getpid())-0"]
      let kept = [
        held, gone, gone + "-0-0", gone + "-x", "file.partial-\(getppid())-0", "file.partial-old",
        "file.partial-removed", "file2.partial-\(Int32.max)-0",
      ]
      for name in removed + kept { try Data().write(to: URL(fileURLWithPath: folder + "/" + name)) }
      // As a process on another machine does.
      let descriptor = open(folder + "/" + held, O_RDWR | O_CLOEXEC)
      let locked = flock(descriptor, LOCK_EX)
      #expect(locked == 0)
      let file = try AtomicFile(folder + "/file")
      #expect(try names(in: folder) == (kept + ["file.partial-\(getpid())-0"]).sorted())
      close(descriptor)
      try file.commit()
      try AtomicFile.write("again", to: folder + "/file")
      #expect(try names(in: folder) == (kept.dropFirst() + ["file"]).sorted())
    }
  }
}
