import Foundation
import ModelFiles
import TestSupport
import Testing

/// A block of 32 values as a GGUF file holds it in q8_0: the scale in fp16, then the signed bytes.
private func q8Block(_ values: [Float]) throws -> [UInt8] {
  try withTemporaryDirectory { directory in
    let path = directory + "/a.gguf"
    let writer = try GGUFWriter(path, metadata: [], tensors: [.init(name: "w", shape: [32], type: .q8x0)])
    try values.withUnsafeBufferPointer { try writer.append($0) }
    try writer.finish().commit()
    // The only tensor, 34 bytes, is filled up to the next multiple of 32.
    return Array(try Data(contentsOf: URL(fileURLWithPath: path)).suffix(64).prefix(34))
  }
}

/// The largest value of a block, its negative, and zeros.
private func values(_ largest: Float) -> [Float] { [largest, -largest] + [Float](repeating: 0, count: 30) }

@Suite("Types of stored weights")
struct WeightEncodingTests {
  @Test(
    "values so small that the inverse of their scale is infinite are zero in q8_0",
    arguments: [0, .leastNonzeroMagnitude, .leastNormalMagnitude, 3e-37] as [Float])
  func tiny(largest: Float) throws {
    #expect(try q8Block(values(largest)) == [UInt8](repeating: 0, count: 34))
  }

  @Test("the smallest and the largest scales that q8_0 can use", arguments: [1e-36, 1, 8_319_008] as [Float])
  func extremes(largest: Float) throws {
    let block = try q8Block(values(largest))
    #expect(Array(block[2..<5]) == [127, 129, 0])
    let scale = Float16(bitPattern: UInt16(block[0]) | UInt16(block[1]) << 8)
    #expect(scale == Float16(largest / 127))
  }

  @Test("values whose scale is beyond fp16 are refused in q8_0")
  func beyondHalf() throws {
    do {
      _ = try q8Block(values(9e6))
      Issue.record("no error was thrown")
    } catch {
      #expect("\(error)".hasSuffix("'w' has values beyond 8319008, the largest of q8; choose --type bf16 or fp32."))
    }
  }
}
