import Foundation
import Model
import ModelFiles
import Storage
import TestSupport
import Testing

/// A file of `header` and `dataByteCount` zeros.
private func write(_ header: String, dataByteCount: Int, headerLength: UInt64? = nil, to path: String) throws {
  var bytes = withUnsafeBytes(of: (headerLength ?? UInt64(header.utf8.count)).littleEndian) { Array($0) }
  bytes += Array(header.utf8) + [UInt8](repeating: 0, count: dataByteCount)
  try AtomicFile.write(bytes, to: path)
}

@Suite struct SafetensorsTests {
  @Test("what is written is read back, at aligned addresses")
  func roundTrip() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.safetensors"
      let values: [Float] = [1, -2.5, 3.14159, 65504, 1e-30]
      let writer = try SafetensorsWriter(
        path,
        tensors: [
          .init(name: "a", type: .float32, shape: [5]), .init(name: "b", type: .bfloat16, shape: [1, 5]),
          .init(name: "empty", type: .float32, shape: [0, 3]),
        ], metadata: ["format": "pt", "note": "\"quoted\""])
      try values.withUnsafeBufferPointer {
        try writer.append($0)
        try writer.append($0)
      }
      try writer.append(UnsafeRawBufferPointer(start: nil, count: 0))
      #expect(!FileManager.default.fileExists(atPath: path))
      try writer.commit()

      let file = try SafetensorsFile(path)
      #expect(file.tensors.map(\.name) == ["a", "b", "empty"])
      #expect(file.metadata == ["format": "pt", "note": "\"quoted\""])
      let a = try #require(file.tensor("a"))
      #expect(try file.floats(of: a) == values)
      #expect(Int(bitPattern: file.bytes(of: a).baseAddress) % 64 == 0)
      let b = try #require(file.tensor("b"))
      #expect(b.shape == [1, 5])
      // 3.14159 to 8 significant bits is 3.140625.
      #expect(try file.floats(of: b).prefix(3) == [1, -2.5, 3.140625])
      #expect(file.tensor("c") == nil)
    }
  }

  @Test("half-precision values widen exactly")
  func float16() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.safetensors"
      let values: [Float16] = [0, -1.5, 65504, .leastNonzeroMagnitude]
      let writer = try SafetensorsWriter(path, tensors: [.init(name: "h", type: .float16, shape: [4])])
      try values.withUnsafeBytes { try writer.append($0) }
      try writer.commit()
      let file = try SafetensorsFile(path)
      #expect(try file.floats(of: file.tensors[0]) == values.map(Float.init))
    }
  }

  @Test("rounding to bfloat16 goes to the nearest, ties to even, and keeps NaN and infinity")
  func rounding() {
    let bits: [(UInt32, UInt16)] = [
      (0x3F80_8000, 0x3F80), (0x3F81_8000, 0x3F82), (0x3F80_8001, 0x3F81), (0x3F80_7FFF, 0x3F80),
      (0x7F80_0000, 0x7F80), (0xFF80_0000, 0xFF80), (0x7F7F_FFFF, 0x7F80), (0x0000_0000, 0), (0x8000_0000, 0x8000),
    ]
    for (input, expected) in bits {
      #expect(BFloat16(Float(bitPattern: input)).bitPattern == expected)
    }
    #expect(BFloat16(Float(bitPattern: 0x7F80_0001)).float.isNaN)
  }

  @Test("a file without its commit leaves nothing behind")
  func abandoned() throws {
    try withTemporaryDirectory { directory in
      do {
        let writer = try SafetensorsWriter(
          directory + "/a.safetensors", tensors: [.init(name: "a", type: .float32, shape: [1])])
        _ = writer
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  static let entry = #""dtype":"F32","shape":[2],"data_offsets":[0,8]"#

  @Test(
    "a header that lies is refused with the fault",
    arguments: [
      ("", 0, nil, "8 bytes"),  // length zero: an empty header is not JSON
      ("{}", 0, UInt64.max, "the header should take 18446744073709551615 bytes"),
      ("{}", 0, 1 << 40, "the header should take"),
      ("[]", 0, nil, "not a JSON object"),
      ("{", 0, nil, "not valid JSON"),
      (#"{"a":{}}"#, 0, nil, "tensor 'a' has no dtype"),
      (#"{"a":{"dtype":"F12","shape":[],"data_offsets":[0,4]}}"#, 4, nil, "unknown element type 'F12'"),
      (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, nil, "no usable shape"),
      (#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4, nil, "no usable shape"),
      (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#, 4, nil, "absurd shape"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8, nil, "no usable data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, 8, nil, "no usable data_offsets"),
      (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}"#, 8, nil, "should end at byte"),
      (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, nil, "needs 12 bytes and is given 8"),
      ("{\"a\":{\(entry)},\"b\":{\(entry)}}", 8, nil, "overlap"),
      ("{\"a\":{\(entry)}}", 7, nil, "should end at byte 8 of the data, which has 7"),
      ("{\"a\":{\(entry)}}", 9, nil, "1 bytes at the end belong to no tensor"),
      ("{\"a\":{\(entry)},\"a\":{\(entry)}}", 8, nil, "appears twice"),
      (
        "{\"\u{E9}\":{\(entry)},\"e\u{301}\":{\(entry.replacingOccurrences(of: "[0,8]", with: "[8,16]"))}}", 16, nil,
        "two tensors have the same name"
      ),
      (#"{"__metadata__":[]}"#, 0, nil, "__metadata__ is not an object"),
    ] as [(String, Int, UInt64?, String)])
  func refusals(header: String, dataByteCount: Int, headerLength: UInt64?, fault: String) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/bad.safetensors"
      try write(header, dataByteCount: dataByteCount, headerLength: headerLength, to: path)
      #expect { try SafetensorsFile(path) } throws: { error in
        let text = "\(error)"
        return error is ModelFileError && text.hasPrefix(path) && (fault == "8 bytes" || text.contains(fault))
      }
    }
  }

  @Test("empty, short and missing files are refused")
  func notFiles() throws {
    try withTemporaryDirectory { directory in
      try AtomicFile.write([], to: directory + "/empty")
      #expect(throws: ModelFileError.malformed(path: directory + "/empty", fault: "the file is empty")) {
        try SafetensorsFile(directory + "/empty")
      }
      try AtomicFile.write([1, 2, 3], to: directory + "/short")
      #expect(throws: ModelFileError.self) { try SafetensorsFile(directory + "/short") }
      #expect(throws: FileError.self) { try SafetensorsFile(directory + "/missing") }
      #expect(throws: FileError.self) { try SafetensorsFile(directory) }
    }
  }

  @Test("ten thousand damaged files are read or refused, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/a.safetensors"
      let writer = try SafetensorsWriter(
        path,
        tensors: (0..<4).map { .init(name: "layer.\($0)", type: $0 % 2 == 0 ? .float32 : .bfloat16, shape: [3, $0]) })
      for i in 0..<4 { try [Float](repeating: 1, count: 3 * i).withUnsafeBufferPointer { try writer.append($0) } }
      try writer.commit()
      let good = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      var generator = SeededGenerator(seed: seed)
      for _ in 0..<2500 {
        try Data(damaged(good, using: &generator)).write(to: URL(fileURLWithPath: path))
        do {
          let file = try SafetensorsFile(path)
          for tensor in file.tensors {
            do { _ = try file.floats(of: tensor) } catch is ModelFileError {}
          }
        } catch is ModelFileError {}
      }
    }
  }
}
