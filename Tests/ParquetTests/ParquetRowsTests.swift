import Foundation
import Parquet
import TestSupport
import Testing

/// Files that pyarrow 26.0.1 has written, as `Tests/Interop/test_parquet.py` does: nine rows in two row groups.
private let files = ["plain_v1", "snappy_v1", "zstd_v2", "gzip_v2"]

private func content(_ name: String) throws -> [UInt8] {
  let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "TestSupport/Fixtures/parquet")
  return [UInt8](try Data(contentsOf: fixtures.appending(path: name + ".parquet")))
}

/// The first rows as they are read.
func rows(_ bytes: [UInt8], most: Int = 100) throws -> [String] {
  try bytes.withUnsafeBytes { file in
    var reader = try ParquetRows(file)
    var rows: [String] = []
    while rows.count < most {
      var line: [UInt8] = []
      guard try reader.next(into: &line) else { break }
      rows.append(String(decoding: line, as: UTF8.self))
    }
    return rows
  }
}

@Suite("Rows of Parquet files")
struct ParquetRowsTests {
  @Test("texts, numbers, bytes, lists and structures become JSON, absent ones null", arguments: files)
  func values(name: String) throws {
    let expected = [
      #"""
      {"text":"Once \"upon\"\n一次","number":3,"share":0.5,"ok":true,"image_bytes":["data:application/octet-stream;base64,iVBORw==","data:application/octet-stream;base64,"],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null}],"image":{"bytes":"data:application/octet-stream;base64,/9g=","path":null}}
      """#,
      #"{"text":null,"number":null,"share":null,"ok":null,"image_bytes":null,"messages":[],"image":null}"#,
      #"{"text":"","number":-7,"share":1e+20,"ok":false,"image_bytes":[],"messages":null,"image":{"bytes":null,"path":"a.png"}}"#,
    ].map { $0 + "\n" }
    #expect(try rows(content(name)) == expected + expected + expected)
  }

  @Test("a file that is cut anywhere is refused", arguments: files) func cut(name: String) throws {
    let whole = try content(name)
    for count in 0..<whole.count {
      let error = #expect(throws: ParquetError.self) { try rows(Array(whole.prefix(count))) }
      #expect(error?.description.contains("damaged") == true)
    }
  }

  @Test("ten thousand damaged files of each kind are read or refused, with bounded memory", arguments: files)
  func damage(name: String) throws {
    let whole = try content(name)
    var generator = SeededGenerator(seed: 20)
    var refused = 0
    for _ in 0..<10_000 {
      do {
        let read = try rows(damaged(whole, using: &generator), most: 1000)
        #expect(read.allSatisfy { $0.utf8.count < 1 << 20 })
      } catch { refused += 1 }
    }
    #expect(refused > 1000)
  }

  @Test("an encrypted file is refused by name, and an empty one") func encrypted() throws {
    var bytes = try content("plain_v1")
    bytes.replaceSubrange(bytes.count - 4..<bytes.count, with: Array("PARE".utf8))
    let error = #expect(throws: ParquetError.self) { try rows(bytes) }
    #expect(error?.description.hasPrefix("has an encrypted footer, which is not read.") == true)
    for bytes in [[], Array("PAR1".utf8), Array("PAR1PAR1".utf8)] as [[UInt8]] {
      #expect(throws: ParquetError.self) { try rows(bytes) }
    }
  }
}
