import Foundation
import Testing
import Training

@Suite("TensorBoard")
struct TensorBoardTests {
  @Test("the checksum gives the values of RFC 3720")
  func checksum() {
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(CRC32C.checksum(Array(0..<32)) == 0x46DD_794E)
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
  }

  @Test("a session writes a file of its own, and only where it is asked for")
  func files() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 4
      settings.checkpointInterval = 2
      let (_, without) = try tiny.train(settings, output: "without")
      #expect(!FileManager.default.fileExists(atPath: without + "/tensorboard"))
      settings.tensorboard = true
      let (_, with) = try tiny.train(settings, output: "with", stopAfter: 2)
      try tiny.resume(with)
      let names = try FileManager.default.contentsOfDirectory(atPath: with + "/tensorboard")
      #expect(names.count == 2 && names.allSatisfy { $0.hasPrefix("events.out.tfevents.") })
    }
  }
}
