import Foundation
import TestSupport
import Testing

import Corpus

@Suite("WebDataset archives")
struct WebDatasetTests {
  /// The rows that an archive becomes.
  private func rows(_ archive: [UInt8]) throws -> [String] {
    try withTemporaryDirectory { directory in
      try rows(of: try writeBytes(archive, "samples.tar", in: directory))
    }
  }

  private func rows(of path: String) throws -> [String] {
    let reader = BlockReader(try InputFiles([path]).files)
    var rows: [String] = []
    while let block = try reader.next() {
      rows += block.records.map { String(decoding: block.bytes(of: $0), as: UTF8.self) }
    }
    return rows
  }

  private func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test("files that differ in their endings only are one row, whatever the order of their kinds") func samples() throws
  {
    var archive = TarArchive()
    archive.add("train/", type: "5")
    archive.add("train/1.cls", utf8("7"))
    archive.add("train/1.PNG", [1, 2, 3])
    archive.add("train/1.txt", utf8("a \"cat\"\n"))
    archive.add("train/._1.txt", utf8("of the Mac"))
    archive.add("train/2.json", utf8(" {\"text\":\n \"two\"}\n"))
    archive.add("train/2.left.jpg", [4])
    archive.add("train/2.right.jpg", [5])
    archive.add("other/2.json", utf8("{}"))
    archive.add("图片.caption.txt", utf8("三"))
    archive.add(longName: String(repeating: "long/", count: 40) + "name.txt", utf8("four"))
    archive.add(longName: String(repeating: "long/", count: 40) + "name.json", utf8("{\"n\": 4}"))
    #expect(
      try rows(archive.bytes) == [
        #"{".cls":"1 bytes","text":"a \"cat\"","image_bytes":["data:image/png;base64,AQID"]}"#,
        #"{"text":  "two","image_bytes":["data:image/jpg;base64,BA==","data:image/jpg;base64,BQ=="]}"#, "{}",
        #"{"text":"三"}"#, #"{"n": 4,"text":"four"}"#,
      ])
  }

  @Test("a sample whose .json is no object is a broken row, and the others stay") func broken() throws {
    try withTemporaryDirectory { directory in
      var archive = TarArchive()
      for number in 0..<9 { archive.add("\(number).txt", utf8("text \(number)")) }
      archive.add("9.json", utf8("[1, 2]"))
      archive.add("a.txt", [0xFF, 0xFE])
      archive.add("b.json", [])
      let (texts, broken) = try documents([try writeBytes(archive.bytes, "a.tar", in: directory)])
      #expect(texts == (0..<9).map { "text \($0)" } && broken.count == 3)
      let reasons = broken.messages.joined(separator: "\n")
      #expect(["is a list", "is null", "a text that is not valid UTF-8"].allSatisfy(reasons.contains), "\(reasons)")
    }
  }

  @Test("what is not read is refused by name")
  func refusals() throws {
    func message(_ build: (inout TarArchive) -> Void) -> String {
      var archive = TarArchive()
      archive.add("1.txt", utf8("one"))
      build(&archive)
      return failure { try rows(archive.bytes) }
    }
    #expect(message { $0.add("2.txt", type: "1") }.contains(#""2.txt" is a link to another file, which is not read"#))
    #expect(message { $0.add("2.txt", type: "2") }.contains("is a link to another file"))
    #expect(message { $0.add("2.txt", type: "S") }.contains("is a sparse file"))
    #expect(message { $0.add("rows.jsonl", utf8("{}")) }.contains(#"with "rows.jsonl" in it, and not one of samples"#))
    #expect(message { $0.add("inner.tar.gz") }.contains("Unpack it first"))
    #expect(message { $0.add("2.txt", utf8("two"), size: 1 << 32) }.contains("more than 32 MiB"))
    #expect(message { $0.add("2.mp4", utf8("two"), size: 1 << 32) }.contains("ends in the middle of a member"))
    #expect(
      message { archive in for _ in 0..<9 { archive.add("2.png", [UInt8](repeating: 0, count: 1 << 22)) } }
        .contains(#"the sample of "2.png" has more than 32 MiB"#))
    var cut = TarArchive()
    cut.add("1.txt", [UInt8](repeating: 0x61, count: 4096))
    #expect(failure { try rows(Array(cut.bytes.prefix(2000))) }.contains("damaged or was copied in part"))
  }

  @Test("ten thousand damaged archives are read or refused with what is wrong, in bounded memory") func damage() throws
  {
    var archive = TarArchive()
    archive.add("1.json", utf8("{\"text\": \"one\"}"))
    archive.add("1.png", [UInt8](repeating: 7, count: 600))
    archive.add(longName: String(repeating: "x", count: 120) + ".txt", utf8("two"))
    archive.add(String(repeating: "y", count: 90), utf8(String(repeating: "z", count: 130) + ".txt"), type: "L")
    archive.add("z", utf8("three"))
    let whole = archive.bytes
    try withTemporaryDirectory { directory in
      let path = directory + "/damaged.tar"
      var generator = SeededGenerator(seed: 21)
      var refused = 0
      for number in 0..<10_000 {
        try Data(damaged(whole, using: &generator)).write(to: URL(filePath: path))
        do {
          let rows = try rows(of: path)
          #expect(rows.reduce(0) { $0 + $1.utf8.count } < 1 << 16, "\(number)")
        } catch {
          #expect(error is CorpusError, "\(number): \(error)")
          refused += 1
        }
      }
      #expect(refused > 3000)
    }
  }
}
