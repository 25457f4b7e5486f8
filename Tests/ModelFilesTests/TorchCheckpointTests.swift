import Foundation
import ModelFiles
import Storage
import TestSupport
import Testing

/// A checkpoint of two tensors, the second of which has two names.
func writeCheckpoint(_ path: String, type: TensorType = .float32) throws {
  let a: [Float] = [1, -2.5, 3, 4, 5, 6]
  let b: [Float] = [0.25, 0.5]
  func narrowed(_ values: [Float]) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: values.count * type.byteCount)
    try values.withUnsafeBufferPointer { values in
      try bytes.withUnsafeMutableBytes {
        try TensorConversion.narrow(values, to: type, at: $0, name: "a", path: path)
      }
    }
    return bytes
  }
  let (first, second) = (try narrowed(a), try narrowed(b))
  try first.withUnsafeBytes { first in
    try second.withUnsafeBytes { second in
      try TorchWriter.write(
        [
          .init(names: ["a"], shape: [2, 3], bytes: first), .init(names: ["b", "c"], shape: [2], bytes: second),
        ], type: type, to: path)
    }
  }
}

/// Writes a zip archive of stored entries.
private func writeArchive(_ entries: [(String, [UInt8])], to path: String) throws {
  let stable = entries.map { entry in
    UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, entry.1.count), alignment: 1)
  }
  defer { for block in stable { block.deallocate() } }
  for (block, entry) in zip(stable, entries) { block.copyBytes(from: entry.1) }
  try ZipWriter.write(
    zip(stable, entries).map {
      ZipWriter.Entry(name: $1.0, bytes: UnsafeRawBufferPointer(rebasing: $0[..<$1.1.count]))
    },
    to: path)
}

private func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    return ""
  } catch { return "\(error)" }
}

@Suite struct TorchCheckpointTests {
  @Test("what is written is read back, tied names as one tensor", arguments: [TensorType.float32, .bfloat16, .float16])
  func roundTrip(type: TensorType) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      try writeCheckpoint(path, type: type)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["a.pth"])
      let checkpoint = try TorchCheckpoint(path)
      #expect(checkpoint.tensors.map(\.name) == ["a", "b", "c"])
      #expect(checkpoint.tensors.map(\.shape) == [[2, 3], [2], [2]])
      #expect(checkpoint.tensors.allSatisfy { $0.type == type })
      #expect(checkpoint.isSame(checkpoint.tensors[1], checkpoint.tensors[2]))
      var values = [Float](repeating: 0, count: 6)
      try checkpoint.copy(checkpoint.tensors[0], to: &values)
      #expect(values == [1, -2.5, 3, 4, 5, 6])
    }
  }

  @Test("an axis of one element may have any stride")
  func strides() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      let values = (0..<6).flatMap { withUnsafeBytes(of: Float($0).bitPattern.littleEndian, Array.init) }
      let pickle = tensorPickle(offset: Array("K\u{1}".utf8), sizes: [1, 2], strides: [Int.max, 2])
      try writeArchive([("a/data.pkl", pickle), ("a/data/0", values)], to: path)
      let checkpoint = try TorchCheckpoint(path)
      var read = [Float](repeating: 0, count: 2)
      try checkpoint.copy(checkpoint.tensors[0], to: &read)
      #expect(read == [1, 3])
    }
  }

  @Test("the same weights give the same bytes")
  func determinism() throws {
    try withTemporaryDirectory { directory in
      try writeCheckpoint(directory + "/a.pth")
      try writeCheckpoint(directory + "/b.pth")
      #expect(try MappedFile.contents(of: directory + "/a.pth") == MappedFile.contents(of: directory + "/b.pth"))
    }
  }

  @Test("an archive that is not one of weights is refused with the fault")
  func archives() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      let pickle = Array("}.".utf8)
      let cases: [([(String, [UInt8])], String)] = [
        ([("a/data.pkl", pickle), ("../../etc/passwd", [1])], "'../../etc/passwd', which leads out of it"),
        ([("a/data.pkl", pickle), ("/etc/passwd", [1])], "which leads out of it"),
        ([("a/data.pkl", pickle), ("a\\b", [1])], "which leads out of it"),
        ([("a/other", pickle)], "the archive has 0 pickles data.pkl"),
        ([("a/data.pkl", pickle), ("b/data.pkl", pickle)], "the archive has 2 pickles data.pkl"),
        ([("a/data.pkl", pickle), ("a/byteorder", Array("big".utf8))], "little-endian"),
        (
          [("a/data.pkl", [UInt8](repeating: 0x4E, count: PickleReader.maximumByteCount + 1))],
          "larger than the description of any model"
        ),
        ([("a/data.pkl", Array("cos\nsystem\n.".utf8))], "a/data.pkl, byte 0: the pickle asks for os.system"),
        ([("a/data.pkl", Array("}X\u{1}\0\0\0eK\u{3}s.".utf8))], "'e' is no tensor"),
        ([("a/data.pkl", Array("}K\u{1}K\u{3}s.".utf8))], "a key that is no text"),
      ]
      for (entries, fault) in cases {
        try writeArchive(entries, to: path)
        let text = message { _ = try TorchCheckpoint(path) }
        #expect(text.hasPrefix(path) && text.contains(fault), "\(text)")
        try FileManager.default.removeItem(atPath: path)
      }
      for (content, fault) in [
        ("", "the file is empty"), ("\u{80}\u{2}not a zip", "no zip archive"),
        ("PK\u{3}\u{4}x", "cannot be read as a zip archive"),
      ] {
        try AtomicFile.write(content, to: path)
        #expect(message { _ = try TorchCheckpoint(path) }.contains(fault))
      }
    }
  }

  @Test("a zip bomb is refused before anything is unpacked")
  func bomb() throws {
    try withTemporaryDirectory { directory in
      // 4 GiB of zeros, deflated: the entry says so, and its method alone is reason enough.
      let path = directory + "/a.pth"
      try writeCheckpoint(path)
      var bytes = try MappedFile.contents(of: path)
      let central = try #require(offset(ofCentralEntry: 0, in: bytes))
      func set(_ value: UInt32, at offset: Int, bytes count: Int) {
        for i in 0..<count { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(i))) }
      }
      var method = bytes
      method[8] = 8
      method[central + 10] = 8
      #expect(message { try readAll(method) }.contains("compressed or encrypted"))
      set(0xFFFF_FFF0, at: 22, bytes: 4)
      set(0xFFFF_FFF0, at: central + 24, bytes: 4)
      #expect(!message { try readAll(bytes) }.isEmpty)
    }
  }

  @Test("ten thousand damaged checkpoints are read or refused, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.pth"
      try writeCheckpoint(path)
      let good = try MappedFile.contents(of: path)
      var generator = SeededGenerator(seed: seed)
      for index in 0..<2500 {
        // Half of them with damage in the pickle alone and the right checksum, which gets further.
        let bytes = index % 2 == 0 ? damaged(good, using: &generator) : withDamagedPickle(good, using: &generator)
        do { try readAll(bytes) } catch is ModelFileError {}
      }
    }
  }
}

/// Reads every tensor of the checkpoint in `bytes`.
func readAll(_ bytes: [UInt8]) throws {
  try bytes.withUnsafeBytes { bytes in
    let checkpoint = try TorchCheckpoint(bytes, path: "damaged.pth")
    for tensor in checkpoint.tensors {
      var values = [Float](repeating: 0, count: tensor.shape.reduce(1, *))
      do { try checkpoint.copy(tensor, to: &values) } catch is ModelFileError {}
    }
  }
}
