import Corpus
import Foundation
import TestSupport
import Testing

/// Files as they lie in people's directories.
@Suite("Input files") struct InputFileTests {
  private static let chinese = "世界上最高的山是什么山？珠穆朗玛峰，在中国和尼泊尔的边界上。我们都知道这个。\n"
  private static let japanese = "これは日本語の文章です。ひらがなとカタカナと漢字があります。\n"
  private static let korean = "이것은 한국어 문장입니다. 우리는 모두 알고 있습니다.\n"
  private static let traditional = "這是繁體中文的文章，我們都知道這個國家的人們說什麼話。\n"

  /// The texts above as Python's codecs gb18030, cp932, euc_jp, cp949 and big5 encode them.
  private static func bytes(_ base64: String) -> [UInt8] { Array(Data(base64Encoded: base64)!) }
  private static let gb18030 = bytes(
    "ysC958nP1+6437XEyb3Kx8qyw7TJvaO/1unEwsDKwuq35aOs1NrW0Ln6us3E4bK0tvu1xLHfvefJz6GjztLDx7a81qq1wNXiuPahowo=")
  private static let shiftJIS = bytes(
    "grGC6oLNk/qWe4zqgsyVto/NgsWCt4FCgtCC54KqgsiCxoNKg16DSoNpgsaKv46agqqCoILogtyCt4FCCg==")
  private static let eucJP = bytes(
    "pLOk7KTPxvzL3LjspM7KuL7PpMekuaGjpNKk6aSspMqkyKWrpb+lq6XKpMi0wbv6pKykoqTqpN6kuaGjCg==")
  private static let eucKR = bytes("wMywzcC6IMfRsbm+7iC5rsDlwNS0z7TZLiC/7LiutMIguPC1ziC+y7DtIMDWvcC0z7TZLgo=")
  private static let big5 = bytes("s2+sT8FjxemkpKTlqrqk5bO5oUGn2q3Ms6OqvrlEs2+t07DqrmGquqRIrcy7oaSwu/K43KFDCg==")

  @Test("each file is read in its own encoding, and what it is in is told") func encodings() throws {
    let cases: [(name: String, text: String, bytes: [UInt8], encoding: String)] = [
      ("gb.txt", Self.chinese, Self.gb18030, "GB18030"), ("sjis.txt", Self.japanese, Self.shiftJIS, "SHIFT_JIS"),
      ("euc.txt", Self.japanese, Self.eucJP, "EUC-JP"), ("kr.txt", Self.korean, Self.eucKR, "EUC-KR"),
      ("big5.txt", Self.traditional, Self.big5, "BIG5"),
      (
        "le.txt", "Hello wörld\n",
        [0xFF, 0xFE] + Array("Hello wörld\n".utf16).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }, "UTF-16"
      ),
      (
        "be.txt", "Hello wörld\n", Array("Hello wörld\n".utf16).flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] },
        "UTF-16BE"
      ), ("u8.txt", Self.chinese, Array(Self.chinese.utf8), "UTF-8"),
    ]
    try withTemporaryDirectory { directory in
      for item in cases {
        let path = try writeBytes(item.bytes, item.name, in: directory)
        let files = try InputFiles([path]).files
        #expect(files[0].encoding.description == item.encoding, "\(item.name)")
        #expect(try documents([path]).texts == [String(item.text.dropLast())], "\(item.name)")
      }
      // In one directory, with the encoding named: UTF-8 stays UTF-8.
      let folder = directory + "/folder"
      _ = try writeBytes(cases[0].bytes, "a.txt", in: folder)
      _ = try write(Self.chinese, "b.txt", in: folder)
      _ = try write("plain\n", "c.txt", in: folder)
      let line = String(Self.chinese.dropLast())
      #expect(try documents([folder], encoding: "GBK").texts == [line, line, "plain"])
    }
  }

  @Test(
    "what is not valid in the encoding is a broken row, and an encoding that cannot be told stops with the file's name")
  func damagedEncodings() throws {
    try withTemporaryDirectory { directory in
      let good = Self.gb18030
      let path = try writeBytes(good + [0xFF, 0xFF, 0x0A] + good, "a.txt", in: directory)
      let (texts, broken) = try documents([path], encoding: "gb18030")
      #expect(texts.count == 2 && broken.messages == ["\(path):2: the line is not valid GB18030"])
      let latin = try writeBytes(
        Array("caf".utf8) + [0xE9, 0x0A] + Array("na".utf8) + [0xEF] + Array("ve\n".utf8), "l.txt", in: directory)
      let message1 = failure { try documents([latin]) }
      #expect(message1.hasPrefix("\(latin) is not UTF-8, and its beginning does not show what else it is"))
      #expect(try documents([latin], encoding: "latin1").texts == ["café", "naïve"])
      #expect(TextEncoding("klingon") == nil && TextEncoding("") == nil && TextEncoding("UTF-8//IGNORE") == nil)
    }
  }

  @Test(
    "an encoded file is the same whatever the size of blocks, and whoever shares them", arguments: [1, 7, 64, 1 << 16])
  func encodedBlocks(blockBytes: Int) throws {
    try withTemporaryDirectory { directory in
      let lines = (0..<3000).map { "\($0)" + Self.chinese.dropLast() }
      let path = try writeBytes((0..<3000).flatMap { Array("\($0)".utf8) + Self.gb18030 }, "a.txt", in: directory)
      let files = try InputFiles([path]).files
      var found: [(Int, [String])] = []
      for index in 0..<3 {
        let reader = BlockReader(files, share: BlockShare(index: index, of: 3), blockBytes: blockBytes)
        while let block = try reader.next() {
          found.append((block.index, block.records.map { String(decoding: block.bytes(of: $0), as: UTF8.self) }))
        }
      }
      #expect(found.sorted { $0.0 < $1.0 }.flatMap(\.1) == lines)
    }
  }

  @Test(
    "gzip of several members and zstd of several frames, as Python writes them, give what is in them; damage is told")
  func compressed() throws {
    try withTemporaryDirectory { directory in
      for (name, bytes) in [
        (
          "a.jsonl.gz",
          Self.bytes("H4sIAAAAAAACA6tWKkmtKFGyUlDKz0tVquWqhvNLygFKvdMtHAAAAB+LCAAAAAAAAgPLV6rlAgBiRIwDBAAAAAAAAAAA")
        ), ("b.jsonl.zst", Self.bytes("KLUv/SAcxQAAkHsidGV4dCI6ICJvbmUifQp0dwEAZptLKLUv/SAEIQAAbyJ9Cg==")),
      ] {
        let path = try writeBytes(bytes, name, in: directory)
        let files = try InputFiles([path]).files
        #expect(files[0].format == .jsonLines)
        #expect(try documents([path]).texts == ["one", "two"])
        let cut = try writeBytes(Array(bytes.prefix(bytes.count / 2)), "cut." + name, in: directory)
        let message2 = failure { try documents([cut]) }
        #expect(message2.contains("ends in the middle of its "), "\(name)")
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<300 {
          let path = try writeBytes(damaged(bytes, using: &generator), "damaged." + name, in: directory)
          // Anything but a crash; what is read is text.
          _ = try? documents([path])
        }
      }
    }
  }

  @Test("fields are parted by what the header is parted by, and names are found whatever their case") func separators()
    throws
  {
    try withTemporaryDirectory { directory in
      for (name, content) in [
        ("a.csv", "id;Text\n1;\"a;b\"\n2;c,d\n"), ("b.tsv", "id\ttext\n1\ta;b\n2\tc,d\n"),
        ("c.csv", "ID\tTEXT\n1\ta;b\n2\tc,d\n"), ("d.csv", "id,正文\n1,a;b\n2,\"c,d\"\n"),
      ] {
        let path = try write(content, name, in: directory)
        #expect(try documents([path]).texts == ["a;b", "c,d"], "\(name)")
      }
      let table = try write("编号;问题;回答\n1;Who?;Me.\n", "qa.csv", in: directory)
      let expected = ["<s>user\nWho?</s>\n<s>assistant\n[Me.</s>]"]
      #expect(try prepared([table], to: directory + "/out", task: sft()).marked == expected)
      let own = try write("Frage,Antwort\nWho?,Me.\n", "own.csv", in: directory)
      let named = try prepared([own], to: directory + "/out2", task: sft()) {
        $0.heldOutFraction = 0
        $0.fieldNames = FieldNames(question: "frage", answer: "Antwort")
      }
      #expect(named.marked == expected)
    }
  }

  @Test("Markdown is one document without its front matter") func markdown() throws {
    try withTemporaryDirectory { directory in
      for (name, content, expected) in [
        ("a.md", "---\ntitle: x\n---\n\n# One\n\ntwo\n", "# One\n\ntwo\n"), ("b.md", "+++\nx = 1\n+++\r\ntext", "text"),
        ("c.md", "---\nno end\n", "---\nno end\n"), ("d.md", "# One\n---\ntwo\n---\n", "# One\n---\ntwo\n---\n"),
        ("e.markdown", "---\r\ntitle: x\r\n...\r\ntext\r\n", "text\r\n"),
      ] {
        let path = try write(content, name, in: directory)
        #expect(try documents([path]).texts == [expected], "\(name)")
      }
    }
  }

  @Test("a directory gives its data; descriptions, what this program wrote and other formats are named")
  func directory() throws {
    try withTemporaryDirectory { directory in
      let folder = directory + "/clone"
      for name in [
        "README.md", "LICENSE", "dataset_infos.json", ".gitattributes", ".git/config", "photo.png", "notes.docx",
        "data/train.jsonl", "tokenizer.json", "out/manifest.json", "out/train-0.tokens", "out/tokenizer.json",
        "run/training.json", "run/samples.txt", "model/config.json", "model/model.safetensors", "model/notes.txt",
        "out.partial-1-0/a.txt", "b.TXT", "samples.txt",
      ] { _ = try write("{\"text\": \"x\"}\n", name, in: folder) }
      symlink("..", folder + "/data/loop")
      let inputs = try InputFiles([folder + "/"])
      #expect(inputs.files.map(\.path) == ["b.TXT", "data/train.jsonl", "samples.txt"].map { folder + "/" + $0 })
      let reasons = Dictionary(grouping: inputs.passedOver, by: \.reason).mapValues {
        $0.map { String($0.path.dropFirst(folder.count + 1)) }
      }
      #expect(
        reasons == [
          .description: ["LICENSE", "README.md", "dataset_infos.json"], .hidden: [".git", ".gitattributes"],
          .format: ["notes.docx", "photo.png"], .own: ["model", "out", "out.partial-1-0", "run", "tokenizer.json"],
          .special: ["data/loop"],
        ])
      // Preparing into a directory inside the input changes nothing for the next time.
      let output = folder + "/prepared"
      let first = try prepared([folder], to: output).manifest
      #expect(try prepared([folder], to: output).manifest == first)
    }
  }

  @Test("what a directory cannot give is an error, not a silence") func unreadable() throws {
    try withTemporaryDirectory { directory in
      func folder(_ name: String) throws -> String {
        _ = try write("x\n", name + "/a.txt", in: directory)
        return directory + "/" + name
      }
      let loops = try folder("loops")
      symlink("b.txt", loops + "/b.txt")
      let message3 = failure { try InputFiles([loops]) }
      #expect(message3.hasPrefix("cannot open \(loops)/b.txt: "))
      let dangling = try folder("dangling")
      symlink("nowhere", dangling + "/b.jsonl")
      let message4 = failure { try InputFiles([dangling]) }
      #expect(message4.hasPrefix("\(dangling)/b.jsonl is a link to a file that is not there."))
      let bytes = try folder("bytes")
      let name = Array((bytes + "/caf").utf8) + [0xE9] + Array(".txt".utf8) + [0]
      let descriptor = name.withUnsafeBufferPointer {
        $0.withMemoryRebound(to: CChar.self) { open($0.baseAddress!, O_CREAT | O_WRONLY, 0o600) }
      }
      try #require(descriptor >= 0)
      close(descriptor)
      let message5 = failure { try InputFiles([bytes]) }
      #expect(message5.contains("holds a file whose name is not UTF-8: caf"))
      let arrow = try folder("arrow")
      _ = try write("ARROW1", "data/train.arrow", in: arrow)
      let message6 = failure { try InputFiles([arrow]) }
      #expect(
        message6.contains("(pyarrow.ipc.open_stream(\"train.arrow\").read_all(), \"train.arrow.parquet\")"))
      let empty = directory + "/empty"
      _ = try write("x", "a.png", in: empty)
      let message7 = failure { try InputFiles([empty]) }
      #expect(
        message7.hasPrefix(
          "\(empty) holds no data file but a.png. Put files there that end in .jsonl, "))
    }
  }

  @Test(
    "files that hold no text are told by their first bytes, with what to do",
    arguments: [
      ("a.jsonl", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".utf8), "git lfs pull"),
      ("a.feather", Array("ARROW1".utf8), "pyarrow.ipc.open_file"), ("a.docx", [0x50, 0x4B, 3, 4], "unzip FILE"),
      ("a.jsonl.xz", [0xFD, 0x37, 0x7A, 0x58, 0x5A], "xz -dk FILE"), ("a.pdf", Array("%PDF-1.7".utf8), "pdftotext"),
      ("a.txt", [UInt8](repeating: 0, count: 100), "full of zero bytes"),
    ]) func noText(name: String, bytes: [UInt8], advice: String) throws
  {
    try withTemporaryDirectory { directory in
      let path = try writeBytes(bytes, name, in: directory)
      let message = failure { try InputFiles([path]) }
      #expect(message.hasPrefix(path) && message.contains(advice), "\(message)")
    }
  }

  @Test("Parquet and tar archives are known by their first bytes, and damage is told with the file's name")
  func binary() throws {
    try withTemporaryDirectory { directory in
      let parquet = try write("PAR1 and nothing else", "a.txt", in: directory)
      #expect(try InputFiles([parquet]).files[0].format == .parquet)
      let message = failure { try documents([parquet]) }
      #expect(message == "\(parquet) is damaged or was copied in part: it does not end as a Parquet file.")
      var archive = TarArchive()
      archive.add("a.txt", Array("one".utf8))
      archive.add("b.txt", Array("two".utf8))
      let path = try writeBytes(archive.bytes, "a.jsonl", in: directory)
      #expect(try InputFiles([path]).files[0].format == .tar)
      #expect(try documents([path]).texts == ["one", "two"])
      let others = try folder(["a.tar": archive.bytes, "b.parquet": Array("PAR1".utf8)], in: directory + "/folder")
      #expect(try InputFiles([others]).files.map(\.format) == [.tar, .parquet])
    }
  }

  private func folder(_ files: [String: [UInt8]], in directory: String) throws -> String {
    for (name, bytes) in files { _ = try writeBytes(bytes, name, in: directory) }
    return directory
  }

  @Test("a pipe is read once, and a device is refused") func pipes() throws {
    try withTemporaryDirectory { directory in
      let path = directory + "/pipe"
      try #require(mkfifo(path, 0o600) == 0)
      let content = (0..<20_000).map { "{\"text\": \"row \($0)\"}\n" }.joined()
      let writer = Thread {
        let descriptor = open(path, O_WRONLY)
        FileHandle(fileDescriptor: descriptor, closeOnDealloc: true).write(Data(content.utf8))
      }
      writer.start()
      let reader = try DocumentReader(inputs: [path])
      var texts: [String] = []
      _ = try reader.forEachDocument { texts.append(String(decoding: $0, as: UTF8.self)) }
      #expect(texts == (0..<20_000).map { "row \($0)" })
      let message8 = failure { try reader.forEachDocument { _ in } }
      #expect(message8 == "a pipe can be read once only. Give a file.")
      let message9 = failure { try InputFiles(["/dev/zero"]) }
      #expect(
        message9
          == "cannot read /dev/zero: it is a device, a file or a pipe is expected.")
    }
  }
}
