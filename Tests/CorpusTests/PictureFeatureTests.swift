import Foundation
import Model
import TestSupport
import Testing
import Vision

import Corpus

@Suite("Features of pictures in prepared data")
struct PictureFeatureTests {
  private static let side = 8
  private static let rows = 3
  private static let hiddenSize = 2

  private static let processor: PictureProcessor = {
    var processor = PictureProcessor()
    processor.size = .exact(width: side, height: side)
    processor.rescaling = 1.0 / 255
    (processor.mean, processor.deviation) = ([0.5, 0.4, 0.3], [0.5, 0.6, 0.7])
    return processor
  }()

  /// In place of a tower: six numbers of the first red value.
  private static func features(_ pixels: [Float]) -> [Float] {
    (0..<rows * hiddenSize).map { pixels[0] * Float($0 + 1) }
  }

  private static func features(light: UInt8) -> [Float] {
    features(
      processor.values(ofPlanes: [light, 100, 255 - light].flatMap { [UInt8](repeating: $0, count: side * side) }))
  }

  /// Settings whose encoder tells `called` with how many pictures it gets.
  private static func settings(
    _ type: ElementType, called: @escaping @Sendable (Int) throws -> Void = { _ in }
  ) -> PictureSettings {
    var settings = PictureSettings(processor: processor, side: side, placeholder: [7, 7, 9])
    let layout = DataManifest.Features(rows: rows, hiddenSize: hiddenSize, type: type, tower: "a tower")
    settings.features = PictureFeatures(layout) {
      { pixels in
        try called(pixels.count)
        return pixels.map(features)
      }
    }
    return settings
  }

  /// Pictures of one light each, one a row.
  private func write(_ count: Int, in directory: String) throws -> String {
    let lines = try (0..<count).map { number in
      let light = UInt8(number)
      let picture = Picture(width: 9, height: 7, pixels: (0..<63).flatMap { _ in [light, 100, 255 - light] })
      let url = "data:image/png;base64," + Data(try picture.png()).base64EncodedString()
      return jsonRow(["q": "<image> \(number)", "a": "the cat", "image": url])
    }
    return try CorpusTests.write(lines.joined(), "rows.jsonl", in: directory)
  }

  private func prepare(_ path: String, _ settings: PictureSettings, to output: String, threads: Int = 1) throws
    -> PreparedData
  {
    try prepared([path], to: output, task: sft()) {
      $0.heldOutFraction = 0
      $0.pictures = settings
      $0.threads = threads
    }
  }

  @Test(
    "batches have what the tower made of each picture, in the type that was asked for", arguments: ElementType.allCases)
  func batches(type: ElementType) throws {
    try withTemporaryDirectory { directory in
      let data = try prepare(try write(3, in: directory), Self.settings(type), to: directory + "/out")
      #expect(data.manifest.pictures?.features?.byteCount == 6 * type.byteCount)
      var sequence = try BatchSequence(data.dataset.training, sequenceLength: 200, shuffleSeed: nil)
      var batch = Batch()
      #expect(sequence.next(maximumTokens: 1000, into: &batch))
      let expected = (0..<3).map { number in
        Self.features(light: UInt8(number)).map { type == .float32 ? $0 : BFloat16($0).float }
      }
      #expect(batch.pictures.map(\.values) == expected.map { BatchPicture.Values.features($0) })
      #expect(batch.pictures.allSatisfy { Array(batch.tokens[$0.rows]) == [7, 7, 9] })
    }
  }

  @Test("the file has the same bytes for any number of threads, and the encoder gets some pictures at a time")
  func threads() throws {
    try withTemporaryDirectory { directory in
      let path = try write(150, in: directory)
      let calls = CallList()
      let files = try [1, 3].map { threads in
        _ = try prepare(
          path, Self.settings(.float32) { calls.add($0) }, to: directory + "/\(threads)", threads: threads)
        return try Data(contentsOf: URL(filePath: "\(directory)/\(threads)/pictures.pictures"))
      }
      #expect(files[0] == files[1] && files[0].count == 64 + 150 * 6 * 4)
      #expect(calls.counts == [64, 64, 22, 64, 64, 22])
    }
  }

  @Test("an encoder that fails, and a stop, leave nothing") func stops() throws {
    try withTemporaryDirectory { directory in
      let path = try write(150, in: directory)
      let message = failure {
        try prepare(path, Self.settings(.float32) { _ in throw CorpusError("no tower") }, to: directory + "/out")
      }
      #expect(message == "no tower")
      let calls = CallList()
      var preparation = DataPreparation(task: sft(), files: try InputFiles([path]).files, tokenizer: smallTokenizer)
      preparation.pictures = Self.settings(.float32) { calls.add($0) }
      #expect(throws: PreparationStopped.self) {
        try preparation.write(
          to: directory + "/out", programVersion: "test", isStopRequested: { !calls.counts.isEmpty })
      }
      #expect(calls.counts == [64])
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["rows.jsonl"])
    }
  }

  @Test("a file of pixels, of another shape or type, or that lacks rows is refused, not followed") func damage() throws
  {
    try withTemporaryDirectory { directory in
      let path = try write(3, in: directory)
      let output = directory + "/out"
      _ = try prepare(path, Self.settings(.float32), to: output)
      let pictures = URL(filePath: output + "/pictures.pictures")
      let whole = try Data(contentsOf: pictures)
      for cut in [1, 4, 24, 72] {
        try Data(whole.dropLast(cut)).write(to: pictures)
        #expect(failure { try TokenShardDataset(directory: output) }.contains("has not the 3 pictures"), "\(cut)")
      }
      try whole.write(to: pictures)
      let manifest = URL(filePath: output + "/manifest.json")
      let text = String(decoding: try Data(contentsOf: manifest), as: UTF8.self)
      for (old, new) in [
        (#""hiddenSize" : 2"#, #""hiddenSize" : 3"#), (#""rows" : 3"#, #""rows" : 1"#),
        (#""type" : "fp32""#, #""type" : "bf16""#), (#""rows" : 3"#, #""rows" : 4611686018427387904"#),
        (#""rows" : 3"#, #""rows" : -3"#), (#""rows" : 3"#, #""rows" : 0"#),
      ] {
        let changed = text.replacingOccurrences(of: old, with: new)
        try #require(changed != text, "\(old)")
        try Data(changed.utf8).write(to: manifest)
        #expect(failure { try TokenShardDataset(directory: output) }.contains("Prepare the data again"), "\(new)")
      }
    }
  }
}

/// How many pictures an encoder got, call by call.
///
/// - Unchecked Sendable: `counts` is read and written with `lock` held.
private final class CallList: @unchecked Sendable {
  private let lock = NSLock()
  private var list: [Int] = []

  func add(_ count: Int) { lock.withLock { list.append(count) } }
  var counts: [Int] { lock.withLock { list } }
}
