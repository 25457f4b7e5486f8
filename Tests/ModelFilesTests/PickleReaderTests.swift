import Foundation
import ModelFiles
import TestSupport
import Testing

/// What reading `pickle` throws; nil when it is read.
private func fault(_ pickle: [UInt8]) -> PickleReader.Fault? {
  do {
    _ = try pickle.withUnsafeBytes { try PickleReader.dictionary($0) }
    return nil
  } catch { return error as? PickleReader.Fault }
}

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// BINUNICODE of a short text.
private func unicode(_ text: String) -> [UInt8] { bytes("X") + [UInt8(text.utf8.count), 0, 0, 0] + bytes(text) }

/// The pickle of `{"w": tensor}`, whose storage has 6 floats, with the given offset, sizes and strides.
func tensorPickle(offset: [UInt8], sizes: [UInt8], strides: [Int]) -> [UInt8] {
  var pickle: [UInt8] = [0x80, 2] + bytes("}") + unicode("w") + bytes("ctorch._utils\n_rebuild_tensor_v2\n((")
  pickle += unicode("storage") + bytes("ctorch\nFloatStorage\n") + unicode("0") + unicode("cpu")
  pickle += bytes("K") + [6] + bytes("tQ") + offset
  pickle += bytes("(") + sizes.flatMap { bytes("K") + [$0] } + bytes("t(")
  pickle += strides.flatMap { [0x8A, 8] + withUnsafeBytes(of: Int64($0).littleEndian, Array.init) } + bytes("t")
  return pickle + [0x89] + bytes("ccollections\nOrderedDict\n)RtRs.")
}

@Suite struct PickleReaderTests {
  @Test(
    "a pickle that is a program is refused with the name or the opcode, and the place",
    arguments: [
      ("cos\nsystem\n(X\u{2}\0\0\0lstR.", 0, "asks for os.system, which no file of weights needs; it was not run"),
      ("c__builtin__\neval\n.", 0, "asks for __builtin__.eval"),
      ("}ctorch\nload\n.", 1, "asks for torch.load"),
      ("}ctorch._utils\n_rebuild_tensor\n.", 1, "asks for torch._utils._rebuild_tensor"),
      ("(ios\nsystem\n.", 1, "opcode 0x69 ('i')"), ("(o.", 1, "opcode 0x6F ('o')"),
      ("}P1\n.", 1, "opcode 0x50 ('P')"), ("}I1\n.", 1, "opcode 0x49 ('I')"),
      ("ccollections\nOrderedDict\n)b.", 26, "sets the state of an object"),
      ("ccollections\nOrderedDict\n))R.", 27, "calls what is no function"),
      ("ctorch\nFloatStorage\n)R.", 21, "no function of tensors"),
      ("K\u{1}.", 3, "no dictionary of weights"), (".", 0, "ends with 0 values"), ("}}.", 2, "ends with 2 values"),
      ("(.", 1, "ends with 0 values"), ("t", 0, "closes a group"), ("}u", 1, "closes a group"),
      ("a", 0, "more values than it has"), ("](K\u{1}aR", 4, "more values than it has"),
      ("h\u{7}", 0, "recalls value 7"),
      ("q\u{0}", 0, "more values than it has"), ("}K\u{1}a", 3, "appends to what is no list"),
      ("](K\u{1}u", 4, "sets members of what is no dictionary"), ("K\u{1}Q", 2, "does not lead to a tensor's storage"),
      ("X\u{9}\0\0\0abc", 5, "cut off"), ("}", 1, "cut off"), ("", 0, "cut off"), ("cos", 0, "a name does not end"),
    ] as [(String, Int, String)])
  func refusals(pickle: String, offset: Int, text: String) {
    // The texts are Latin-1: one byte a character.
    let found = fault(pickle.unicodeScalars.map { UInt8($0.value) })
    #expect(found?.offset == offset && found?.text.contains(text) == true, "\(found as Any)")
  }

  @Test(
    "opcodes above ASCII are refused by their numbers", arguments: [0x81, 0x82, 0x8F, 0x93, 0x94, 0x95, 0x96, 0xFF])
  func opcodes(code: UInt8) {
    #expect(fault([code])?.text.contains("opcode 0x" + String(code, radix: 16, uppercase: true)) == true)
  }

  @Test("a tensor is described by its storage, sizes and strides")
  func tensor() throws {
    let members = try tensorPickle(offset: bytes("K\0"), sizes: [2, 3], strides: [3, 1]).withUnsafeBytes {
      try PickleReader.dictionary($0)
    }
    guard members.count == 1, case .text("w") = members[0].key, case .tensor(let tensor) = members[0].value else {
      Issue.record("\(members)")
      return
    }
    #expect(tensor.shape == [2, 3])
  }

  @Test(
    "a tensor that reaches beyond its storage is refused",
    arguments: [
      (bytes("K\u{1}"), [2, 3], [3, 1]), (bytes("K\0"), [2, 4], [3, 1]), (bytes("K\0"), [2, 3], [4, 1]),
      (bytes("K\0"), [7], [1]), (bytes("K\0"), [7], [0]), (bytes("K\0"), [2, 3], [3]),
      (bytes("J") + [255, 255, 255, 255], [1], [1]),
      (bytes("K\0"), [255, 255, 255, 255, 255, 255, 255, 255], [0, 0, 0, 0, 0, 0, 0, 0]),
      ([0x8A, 8, 255, 255, 255, 255, 255, 255, 255, 127], [2], [255]),
      ([0x8A, 9] + [UInt8](repeating: 1, count: 9), [1], [1]),
    ] as [([UInt8], [UInt8], [Int])])
  func outside(offset: [UInt8], sizes: [UInt8], strides: [Int]) {
    #expect(fault(tensorPickle(offset: offset, sizes: sizes, strides: strides)) != nil)
  }

  @Test("no depth of nesting, no cycle and no length hurts")
  func depth() {
    let nested = bytes(")") + [UInt8](repeating: 0x85, count: 1 << 20) + bytes(".")
    #expect(fault(nested)?.text.contains("no dictionary") == true)
    let marks = [UInt8](repeating: UInt8(ascii: "("), count: 1 << 20)
    #expect(fault(marks)?.text.contains("cut off") == true)
    // A list that holds itself, and a dictionary too.
    #expect(fault(bytes("]q\0h\0a.")) != nil)
    #expect(fault(bytes("}q\0K\u{1}h\0s.")) == nil)
    let long = [UInt8](repeating: UInt8(ascii: "N"), count: PickleReader.maximumByteCount + 1)
    #expect(fault(long)?.text.contains("more than the description of any model") == true)
  }

  @Test("ten thousand damaged pickles are read or refused, never a trap", arguments: 0..<4)
  func damage(seed: UInt64) {
    let good = tensorPickle(offset: bytes("K\0"), sizes: [2, 3], strides: [3, 1])
    #expect(fault(good) == nil)
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<2500 { _ = fault(damaged(good, using: &generator)) }
  }
}
