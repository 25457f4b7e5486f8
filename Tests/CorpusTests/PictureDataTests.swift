import Foundation
import Model
import TestSupport
import Testing
import Vision

import Corpus

@Suite("Pictures in prepared data")
struct PictureDataTests {
  static let placeholder: [Int32] = [7, 7, 7, 9, 9]
  static let side = 8

  static var settings: PictureSettings {
    var processor = PictureProcessor()
    processor.size = .exact(width: side, height: side)
    processor.rescaling = 1.0 / 255
    (processor.mean, processor.deviation) = ([0.5, 0.4, 0.3], [0.5, 0.6, 0.7])
    return PictureSettings(processor: processor, side: side, placeholder: placeholder)
  }

  /// A picture that has only one light, so that it is known after any change of size.
  static func picture(_ light: UInt8) -> Picture {
    Picture(width: 12, height: 10, pixels: (0..<120).flatMap { _ in [light, 100, 255 - light] })
  }

  static func values(_ light: UInt8) -> [Float] {
    settings.processor.values(
      ofPlanes: [light, 100, 255 - light].flatMap { [UInt8](repeating: $0, count: side * side) })
  }

  /// Prepares rows beside which there are pictures in `images`, each named by its light.
  func prepare(
    _ rows: String, name: String = "data.jsonl", task: DataPreparation.Task = sft(), threads: Int = 1,
    check: (PreparedData, _ directory: String) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      try createImages(in: directory)
      let path = try write(rows, name, in: directory + "/rows")
      let data = try prepared([path], to: directory + "/out", task: task) {
        $0.heldOutFraction = 0
        $0.pictures = Self.settings
        $0.threads = threads
      }
      try check(data, directory + "/out")
    }
  }

  private func createImages(in directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory + "/rows/images", withIntermediateDirectories: true)
    for light in [10, 20, 30] as [UInt8] {
      try Data(Self.picture(light).png()).write(to: URL(filePath: "\(directory)/rows/images/\(light).png"))
    }
    try Data(Self.picture(40).png()).write(to: URL(filePath: directory + "/secret.png"))
    try FileManager.default.createSymbolicLink(
      atPath: directory + "/rows/images/link.png", withDestinationPath: directory + "/secret.png")
    try Data("no picture".utf8).write(to: URL(filePath: directory + "/rows/images/text.png"))
    try Data(Self.picture(10).png().dropLast(20)).write(to: URL(filePath: directory + "/rows/images/cut.png"))
  }

  private func batch(_ data: PreparedData, sequenceLength: Int = 200, tokens: Int = 1000) throws -> Batch {
    var sequence = try BatchSequence(data.dataset.training, sequenceLength: sequenceLength, shuffleSeed: nil)
    var batch = Batch()
    #expect(sequence.next(maximumTokens: tokens, into: &batch))
    return batch
  }

  @Test("the layouts of MiniMind-V, of LLaVA and of OpenAI give the same tokens and the same pictures")
  func layouts() throws {
    let (question, answer) = ("<image> and <image> the cat", "the dog")
    let miniMind = jsonRow([
      "image": "images/10.png, images/20.png",
      "conversations": [["role": "user", "content": question], ["role": "assistant", "content": answer]],
    ])
    let llava =
      "["
      + jsonRow([
        "id": "1", "image": ["images/10.png", "images/20.png"],
        "conversations": [["from": "human", "value": question], ["from": "gpt", "value": answer]],
      ]) + "]"
    func url(_ light: UInt8) -> String {
      "data:image/png;base64," + Data(try! Self.picture(light).png()).base64EncodedString()
    }
    func part(_ light: UInt8) -> [String: Any] { ["type": "image_url", "image_url": ["url": url(light)]] }
    let openAI = jsonRow([
      "messages": [
        [
          "role": "user",
          "content": [
            part(10), ["type": "text", "text": " and "], part(20), ["type": "text", "text": " the cat"],
          ],
        ], ["role": "assistant", "content": answer],
      ]
    ])
    var batches: [Batch] = []
    for (rows, name) in [(miniMind, "data.jsonl"), (llava, "data.json"), (openAI, "data.jsonl")] {
      try prepare(rows, name: name) { data, _ in
        #expect(data.manifest.rowsKept == 1 && data.manifest.pictures?.count == 2)
        batches.append(try batch(data))
      }
    }
    #expect(batches[0] == batches[1] && batches[0] == batches[2])
    let first = batches[0]
    #expect(first.pictures.count == 2)
    for (picture, light) in zip(first.pictures, [10, 20] as [UInt8]) {
      #expect(Array(first.tokens[picture.rows]) == Self.placeholder)
      #expect(picture.values == .pixels(Self.values(light)))
    }
    // Only the answer and its end are learned.
    func ids(_ text: String) -> [Int32] { try! smallTokenizer.encode(text, specialTokens: .asText) }
    let learned = first.targets.indices.filter { first.lossWeights[$0] > 0 }.map { first.targets[$0] }
    #expect(learned == ids(answer) + [smallTokenizer.endToken])
    let between = first.pictures[0].rows.upperBound..<first.pictures[1].rows.lowerBound
    #expect(Array(first.tokens[between]) == ids(" and "))
  }

  @Test("the pictures of an archive's sample stand where its text has a place for them, and first where it has none")
  func archives() throws {
    func batch(_ text: String) throws -> Batch {
      var archive = TarArchive()
      for light in [10, 20] as [UInt8] { archive.add("a.\(light).png", try Self.picture(light).png()) }
      archive.add("a.json", Array(jsonRow(["text": text]).utf8))
      return try withTemporaryDirectory { directory in
        let path = try writeBytes(archive.bytes, "a.tar", in: directory)
        return try self.batch(
          prepared([path], to: directory + "/out", task: pretrain()) {
            $0.heldOutFraction = 0
            $0.pictures = Self.settings
          })
      }
    }
    let first = try batch("the cat")
    #expect(try first == batch("<image><image>\nthe cat"))
    #expect(first.pictures.map(\.values) == [10, 20].map { .pixels(Self.values($0)) })
    let placed = try batch("the <image> cat <image>")
    #expect(placed.pictures.map(\.rows) != first.pictures.map(\.rows))
  }

  @Test("a picture is a file, a data: URL, or an object with bytes or a path, also in lists")
  func sources() throws {
    let url = "data:image/png;base64," + Data(try Self.picture(10).png()).base64EncodedString()
    let bytes = url.replacingOccurrences(of: "image/png", with: "application/octet-stream")
    let one: [Any] = [
      "images/10.png", url, bytes, ["images/10.png"], [bytes], ["bytes": bytes, "path": "other.png"],
      ["bytes": NSNull(), "path": "images/10.png"], [["bytes": bytes, "path": NSNull()]],
    ]
    let rows = one.enumerated().map { jsonRow(["q": "<image> \($0)", "a": "the cat", "image": $1]) }
    try prepare(rows.joined() + jsonRow(["q": "<image>", "a": "the cat", "image_bytes": [bytes], "image": "none.png"]))
    {
      data, _ in
      #expect(data.manifest.rowsKept == one.count + 1 && data.manifest.pictures?.count == 1)
    }
    let wrong: [Any] = [5, [5], ["file": "a.png"], [["bytes": 5]]]
    let good = (0..<8).map { jsonRow(["q": "\($0)?", "a": "the cat"]) }.joined()
    let broken = wrong.map { jsonRow(["q": "<image>", "a": "the cat", "image": $0]) }.joined()
    try prepare(good + broken) { data, _ in
      #expect(data.manifest.rowsKept == 8 && data.manifest.rowsBroken == wrong.count)
      #expect(data.manifest.brokenRows.allSatisfy { $0.contains("files or data: URLs are expected") })
    }
  }

  @Test("rows whose pictures do not fit are dropped by reason, and the others stay")
  func broken() throws {
    func row(_ image: Any?, _ question: String = "<image> what is it") -> String {
      jsonRow((["q": question, "a": "a cat"] as [String: Any]).merging(image.map { ["image": $0] } ?? [:]) { $1 })
    }
    let good = (0..<12).map { row("images/30.png", "<image> number \($0)") }.joined()
    let rows =
      row("images/none.png") + row("images/10.png", "without") + row(nil) + row("images/10.png,images/20.png")
      + row("../secret.png") + row("/etc/hostname") + row("images/link.png") + row("images/text.png")
      + row("images/cut.png") + row("images") + good + row(nil, "no picture at all")
    try prepare(rows) { data, _ in
      #expect(data.manifest.rowsKept == 13 && data.manifest.rowsBroken == 10)
      // One picture is kept once.
      #expect(data.manifest.pictures?.count == 1)
      let reasons = data.manifest.brokenRows.joined(separator: "\n")
      for part in [
        "cannot be opened", "picture without a placeholder", "placeholder <image> without a picture",
        "is not below the directory", "is text, not a picture", "ends in the middle", "is no file",
      ] { #expect(reasons.contains(part), "\(part): \(reasons)") }
    }
  }

  @Test("the files have the same bytes for any number of threads")
  func threads() throws {
    let rows = (0..<6000).map { number in
      jsonRow(["q": "<image> \(number)", "a": "the cat", "image": "images/\(10 * (1 + number * 7 % 3)).png"])
    }.joined()
    var files: [[Data]] = []
    for threads in [1, 3] {
      try prepare(rows, threads: threads) { _, directory in
        files.append(
          try ["train-0.tokens", "pictures.pictures"].map { try Data(contentsOf: URL(filePath: "\(directory)/\($0)")) })
      }
    }
    #expect(files[0] == files[1])
    #expect(files[0][1].count == 64 + 3 * 3 * Self.side * Self.side)
  }

  @Test("texts with pictures: placeholders are not predicted, and no chunk of a long text cuts a picture")
  func texts() throws {
    let text = "the cat sat on the mat <image> and the dog sat on the log<image> the cat <image>"
    let names = "images/10.png,images/20.png,images/30.png"
    try prepare(jsonRow(["text": text, "image": names]), task: pretrain()) { data, _ in
      let (shard, _) = data.dataset.training.locate(0)
      let pictures = shard.pictures(ofDocument: 0)
      #expect(pictures.map(\.number) == [0, 1, 2])
      let places = Set(pictures.flatMap { $0.token..<$0.token + 5 })
      #expect((1..<shard.tokenCount).allSatisfy { shard.isTrained($0) != places.contains($0) })
      for length in 5...40 {
        var sequence = try BatchSequence(data.dataset.training, sequenceLength: length, shuffleSeed: nil)
        var (seen, count) = ([BatchPicture.Values](), 0)
        var batch = Batch()
        while sequence.next(maximumTokens: length, into: &batch) {
          seen += batch.pictures.map(\.values)
          for picture in batch.pictures { #expect(Array(batch.tokens[picture.rows]) == Self.placeholder) }
          count += batch.tokenCount
        }
        #expect(seen == [10, 20, 30].map { .pixels(Self.values($0)) } && count == shard.tokenCount - 1, "\(length)")
      }
      #expect(throws: CorpusError.self) {
        try BatchSequence(data.dataset.training, sequenceLength: 4, shuffleSeed: nil)
      }
    }
  }

  @Test("damage to the pictures or to their table is refused, not followed")
  func damage() throws {
    let row = jsonRow(["q": "<image> what", "a": "a cat", "image": "images/10.png"])
    try prepare(row) { _, directory in
      let pictures = URL(filePath: directory + "/pictures.pictures")
      let whole = try Data(contentsOf: pictures)
      for damaged in [whole.dropLast(), whole + [0], Data(whole.reversed()), Data()] {
        try Data(damaged).write(to: pictures)
        #expect(throws: (any Error).self) { try TokenShardDataset(directory: directory) }
      }
      var changed = whole
      changed[100] ^= 1
      try changed.write(to: pictures)
      #expect(failure { try TokenShardDataset(directory: directory) }.contains("its digest does not match"))
      try whole.write(to: pictures)
      _ = try TokenShardDataset(directory: directory)
      // A shard that says of a picture what cannot be, with the right checksums.
      let shard = URL(filePath: directory + "/train-0.tokens")
      let header = try Data(contentsOf: shard).withUnsafeBytes { try ShardHeader($0, path: "shard") }
      for (offset, value) in [(0, 1 << 20), (4, 1)] {
        var bytes = [UInt8](try Data(contentsOf: shard))
        withUnsafeBytes(of: UInt32(value).littleEndian) {
          bytes.replaceSubrange(header.picturesOffset + offset..<header.picturesOffset + offset + 4, with: $0)
        }
        var changed = header
        changed.payloadChecksum = bytes.withUnsafeBytes {
          Checksum.of(UnsafeRawBufferPointer(rebasing: $0[ShardHeader.byteCount...]))
        }
        bytes.replaceSubrange(0..<ShardHeader.byteCount, with: changed.encoded())
        let original = try Data(contentsOf: shard)
        try Data(bytes).write(to: shard)
        #expect(failure { try TokenShardDataset(directory: directory) }.contains("lies outside"))
        try original.write(to: shard)
      }
    }
  }
}
