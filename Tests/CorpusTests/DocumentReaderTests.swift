import Foundation
import TestSupport
import Testing

import Corpus

/// Writes `content` under `directory` and returns the path.
func write(_ content: String, _ name: String, in directory: String) throws -> String {
  try writeBytes(Array(content.utf8), name, in: directory)
}

func writeBytes(_ content: [UInt8], _ name: String, in directory: String) throws -> String {
  let path = directory + "/" + name
  try FileManager.default.createDirectory(
    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
  try Data(content).write(to: URL(fileURLWithPath: path))
  return path
}

func documents(
  _ paths: [String], wholeFiles: Bool = false, encoding: String? = nil
) throws -> (texts: [String], broken: BrokenRows) {
  var texts: [String] = []
  let options = InputOptions(wholeFiles: wholeFiles, encoding: encoding.map { TextEncoding($0)! })
  let broken = try DocumentReader(inputs: paths, options).forEachDocument {
    texts.append(String(decoding: $0, as: UTF8.self))
  }
  return (texts, broken)
}

@Suite("DocumentReader")
struct DocumentReaderTests {
  @Test("JSONL gives the text of each row, escapes resolved")
  func jsonLines() throws {
    try withTemporaryDirectory { directory in
      let path = try write(
        "\u{FEFF}{\"text\": \"一\\n二 \\u4e09\"}\r\n\n{\"id\": 1.5e3, \"text\": \"\\ud83d\\ude00\"}", "a.jsonl",
        in: directory)
      #expect(try documents([path]).texts == ["一\n二 三", "😀"])
    }
  }

  @Test("a JSON array may be written over many lines, with brackets inside strings")
  func jsonArray() throws {
    try withTemporaryDirectory { directory in
      let path = try write(
        "[\n  {\n    \"text\": \"a ] } \\\" b\"\n  },\n  {\"text\": \"c\", \"tags\": [[1], {\"x\": {}}]}\n]\n",
        "a.json",
        in: directory)
      #expect(try documents([path]).texts == ["a ] } \" b", "c"])
    }
  }

  @Test("CSV fields may hold line breaks, commas and doubled quotes")
  func csv() throws {
    try withTemporaryDirectory { directory in
      let path = try write("id,text\r\n1,\"a,\n\"\"b\"\"\"\r\n2,plain \"c\"\r\n3,\"\"\r\n", "a.csv", in: directory)
      #expect(try documents([path]).texts == ["a,\n\"b\"", "plain \"c\""])
    }
  }

  @Test("plain text is a document a line, or one document a file")
  func plainText() throws {
    try withTemporaryDirectory { directory in
      let path = try write("one\r\n\n  \ntwo", "a.txt", in: directory)
      #expect(try documents([path]).texts == ["one", "two"])
      #expect(try documents([path], wholeFiles: true).texts == ["one\r\n\n  \ntwo"])
    }
  }

  @Test("a directory is its data files in the order of their names, hidden ones left out")
  func directory() throws {
    try withTemporaryDirectory { directory in
      _ = try write("two", "b.txt", in: directory)
      _ = try write("{\"text\": \"one\"}", "a.jsonl", in: directory)
      _ = try write("three", "c/d.txt", in: directory)
      _ = try write("no", ".hidden.txt", in: directory)
      _ = try write("no", "e.bin", in: directory)
      #expect(try documents([directory]).texts == ["one", "two", "three"])
    }
  }

  @Test(
    "a suffix that says nothing is settled by the first bytes",
    arguments: [
      ("{\"text\": \"a\"}\n{\"text\": \"b\"}\n", InputFormat.jsonLines), ("[\n{\"text\": \"a\"}]", .json),
      ("{\n \"text\": \"a\"\n}\n", .json), ("id,text\n1,a\n", .csv), ("history,q,a\n", .csv), ("Hello, text\n", .text),
      ("[1] a footnote\n", .text),
    ])
  func sniffing(content: String, format: InputFormat) {
    #expect(InputFormat(suffix: "data", head: Array(content.utf8)) == format)
  }

  @Test(
    "broken rows are told once a file and reason, with the first line of each, and the others are read"
  )
  func brokenRows() throws {
    try withTemporaryDirectory { directory in
      var content = Array(
        "{\"text\": \"a\"}\n{\"text\": \"b\"\n{\"txt\": 1}\n{\"id\": 7}\n[1]\n{\"text\": \"".utf8)
      content +=
        [0xC3, 0x28] + Array(#""}"#.utf8)
        + Array(String(repeating: "\n{\"text\": \"z\"}", count: 5).utf8)
      let path = try writeBytes(content, "a.jsonl", in: directory)
      let other = try write("text\na\nb,c\n", "b.csv", in: directory)
      let (texts, broken) = try documents([path, other])
      #expect(texts == ["a", "z", "z", "z", "z", "z", "a"])
      #expect(broken.count == 6)
      let good = "A good row: {\"text\": \"Once upon a time…\"}"
      #expect(
        broken.messages == [
          "\(path): 2 of 11 rows, the first in line 3: there is no key \"text\" but \"txt\". \(good)",
          "\(path):2: broken JSON: braces, brackets, quotes or commas do not match",
          "\(path):5: the row is a list, an object is expected, as in: {\"text\": \"Once upon a time…\"}",
          "\(path):6: the line is not valid UTF-8 (another encoding can be named, as in: --encoding gb18030)",
          "\(other):3: the row has 2 fields, the header has 1 (\"text\")",
        ])
      #expect(throws: CorpusError(broken.messages[1])) {
        try DocumentReader(inputs: [path], isStrict: true).forEachDocument { _ in }
      }
    }
  }

  @Test("a file of which more than half is broken is named, and nothing is made of the rest")
  func mostlyBroken() throws {
    try withTemporaryDirectory { directory in
      let good = try write("text\na\nb\n", "a.csv", in: directory)
      let bad = try write("id,Frage\n1,b\n2,d\n", "b.csv", in: directory)
      let half = try write("text\na\nb,c\n", "c.csv", in: directory)
      #expect(try documents([good, half]).broken.count == 1)
      let message = failure { try documents([good, bad, half]) }
      #expect(
        message
          == "\(bad): 2 of 2 rows cannot be read, as line 2: there is no column \"text\" but \"id\", \"Frage\". The first "
          + "line must name it; --text-key takes another column for it. More than half of a file is too much to leave out; "
          + "nothing was written.")
      let refused = failure { try prepared([good, bad], to: directory + "/out") }
      #expect(
        refused.hasPrefix(
          "\(bad): 2 of 2 rows cannot be read"))
      #expect(!FileManager.default.fileExists(atPath: directory + "/out"))
    }
  }

  @Test("missing, empty, compressed and textless inputs are one clear sentence")
  func unusableInputs() throws {
    try withTemporaryDirectory { directory in
      #expect(throws: (any Error).self) { try documents([directory + "/nothing.txt"]) }
      let empty = try write("", "empty.jsonl", in: directory)
      #expect(throws: CorpusError("\(empty): there is nothing in it. Give a file with text.")) {
        try documents([empty])
      }
      let blank = try write("\n  \n", "blank.txt", in: directory)
      #expect(throws: CorpusError("\(blank): there is no text in it. Give a file with text.")) {
        try documents([blank])
      }
    }
  }

  @Test("rows are the same whatever the size of the blocks", arguments: [1, 2, 3, 7, 64, 1000])
  func blockSizes(blockBytes: Int) throws {
    try withTemporaryDirectory { directory in
      let inputs = [
        try write(
          "{\"text\": \"a\"}\n{\"text\": \"bb\\\"\"}\r\n\n{\"text\": \"\(String(repeating: "x", count: 300))\"}",
          "a.jsonl", in: directory),
        try write("text,n\n\"a\n\"\"b\",1\nplain,2\r\n\"\"\"\",3", "b.csv", in: directory),
        try write("[{\"text\": \"a\\\\\"},\n {\"text\":\n \"b\"}]", "c.json", in: directory),
        try write("one\ntwo\n", "d.txt", in: directory),
      ]
      let files = try InputFiles(inputs).files
      func rows(_ blockBytes: Int) throws -> [String] {
        let reader = BlockReader(files, blockBytes: blockBytes)
        var rows: [String] = []
        while let block = try reader.next() {
          for record in block.records {
            rows.append("\(record.line) " + String(decoding: block.bytes(of: record), as: UTF8.self))
          }
        }
        return rows
      }
      #expect(try rows(blockBytes) == rows(1 << 16))
      #expect(try rows(blockBytes).count == 4 + 3 + 2 + 2)
    }
  }

  @Test(
    "readers who share the blocks read together what one reads, and know the lines together",
    arguments: [1, 2, 3, 7, 64, 1000], 2...4)
  func shares(blockBytes: Int, count: Int) throws {
    try withTemporaryDirectory { directory in
      let texts = (0..<40).map { String(repeating: "\($0) ", count: $0 * 7 % 23) + ($0 % 5 == 0 ? "\r" : "") }
      let long = String(repeating: "x", count: 3000)
      let inputs = [
        try write("\u{FEFF}" + texts.joined(separator: "\n"), "a.txt", in: directory),
        try write("text\n" + texts.map { "\"\($0)\n\"" }.joined(separator: "\n"), "b.csv", in: directory),
        try write("", "c.txt", in: directory),
        try write("one\n\(long)\n\ntwo\n\(long)", "d.txt", in: directory),
        try write("[{\"text\": 1},\n {\"text\":\n 2}, {}]", "e.json", in: directory),
        try write("last", "f.txt", in: directory),
      ]
      let files = try InputFiles(inputs).files
      func rows(of block: Block, after lines: Int) -> [String] {
        block.oversizedLines.map { "too long \(block.file.path):\($0 + lines)" }
          + block.records.map {
            "\(block.file.path):\($0.line + lines) " + String(decoding: block.bytes(of: $0), as: UTF8.self)
          }
      }
      func blocks(_ share: BlockShare) throws -> [Block] {
        let reader = BlockReader(files, share: share, blockBytes: blockBytes, maximumRecordBytes: 2000)
        var blocks: [Block] = []
        while let block = try reader.next() { blocks.append(block) }
        return blocks
      }
      let expected = try blocks(BlockShare()).flatMap { rows(of: $0, after: 0) }
      #expect(expected.count == 40 + 40 + 5 + 3 + 1 && expected.count { $0.hasPrefix("too long") } == 2)
      var all = try (0..<count).flatMap { index in
        let own = try blocks(BlockShare(index: index, of: count))
        #expect(own.enumerated().allSatisfy { $1.index == $0 * count + index })
        return own
      }
      all.sort { $0.index < $1.index }
      var lines = [Int](repeating: 0, count: files.count)
      var found: [String] = []
      for block in all {
        found += rows(of: block, after: lines[block.fileIndex])
        lines[block.fileIndex] += block.uncountedLines
      }
      #expect(found == expected)
    }
  }

  @Test("a row longer than the reader accepts is skipped and told, and the next row is read")
  func oversizedRow() throws {
    try withTemporaryDirectory { directory in
      let path = try write(
        "a\n" + String(repeating: "x", count: 5000) + "\nb\n", "a.txt", in: directory)
      let reader = BlockReader(
        try InputFiles([path]).files, blockBytes: 16, maximumRecordBytes: 1000)
      var rows: [String] = []
      var oversized: [Int] = []
      while let block = try reader.next() {
        oversized += block.oversizedLines
        for record in block.records {
          rows.append("\(record.line)" + String(decoding: block.bytes(of: record), as: UTF8.self))
        }
      }
      #expect(rows == ["1a", "3b"])
      #expect(oversized == [2])
    }
  }

  @Test("CSV that is written field by field reads back the same, seeded")
  func csvRoundTrip() throws {
    var generator = SeededGenerator(seed: 7)
    let alphabet: [Character] = ["a", ",", "\"", "\n", "文", " ", "\r\n"]
    for round in 0..<300 {
      let rows = (0..<5).map { _ in
        (0..<3).map { _ in
          String((0..<Int.random(in: 0...6, using: &generator)).map { _ in alphabet.randomElement(using: &generator)! })
        }
      }
      let text = rows.map { row in
        row.map { "\"" + $0.replacingOccurrences(of: "\"", with: "\"\"") + "\"" }.joined(separator: ",")
      }.joined(separator: "\n")
      var records: [Record] = []
      var line = 1
      var read: [[String]] = []
      try Array(text.utf8).withUnsafeBytes { bytes in
        _ = RecordScanner.scan(bytes, format: .csv, isLast: true, line: &line, into: &records)
        for record in records {
          var fields = CSVFields()
          try fields.parse(UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.count]))
          read.append((0..<fields.count).map(fields.string))
        }
      }
      #expect(read == rows, "round \(round)")
    }
  }
}
