import Foundation
import Storage
import TestSupport
import Testing
import Tokenization

import Corpus

@Suite("Token shards")
struct ShardTests {
  /// A prepared directory with both sides of a split, and its files by name.
  private func withData(_ body: (_ directory: String, _ files: [String: [UInt8]]) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      let rows = (0..<40).map { jsonRow(["q": "question \($0)", "a": "answer \($0)"]) }.joined()
      let output = directory + "/out"
      _ = try prepared([try write(rows, "a.jsonl", in: directory)], to: output, task: sft()) {
        $0.heldOutFraction = 0.3
      }
      var files: [String: [UInt8]] = [:]
      for name in try FileManager.default.contentsOfDirectory(atPath: output) {
        files[name] = Array(try Data(contentsOf: URL(fileURLWithPath: output + "/" + name)))
      }
      try body(output, files)
    }
  }

  @Test("what was written is read back: tokens, mask, documents and text bytes")
  func roundTrip() throws {
    try withData { directory, files in
      let data = PreparedData(try TokenShardDataset(directory: directory))
      let all = data.marked(data.dataset.training) + data.marked(data.dataset.heldOut)
      let expected = (0..<40).map { "<s>user\nquestion \($0)</s>\n<s>assistant\n[answer \($0)</s>]" }
      #expect(all.sorted() == expected.sorted())
      #expect(data.dataset.heldOut.documentCount > 0)
      for (split, texts) in [data.dataset.training, data.dataset.heldOut].map({ ($0, data.texts($0)) }) {
        for (number, text) in texts.enumerated() {
          let (shard, document) = split.locate(number)
          let answer = text.components(separatedBy: "assistant\n")[1].dropLast("</s>".count)
          #expect(shard.textBytes(ofDocument: document) == answer.utf8.count)
        }
      }
      #expect(
        Set(files.keys) == [
          "manifest.json", "train-0.tokens", "held-out-0.tokens", "tokenizer.json", "tokenizer_config.json",
        ])
      // The data bring their tokenizer, so that a model made from them can have it.
      #expect(try Tokenizer(directory: directory).contentHash == data.manifest.tokenizerHash)
    }
  }

  @Test("a damaged, cut off or overlong shard is a typed error, never a trap")
  func damage() throws {
    try withData { directory, files in
      for seed in 1...600 as ClosedRange<UInt64> {
        var generator = SeededGenerator(seed: seed)
        let name = seed % 2 == 0 ? "train-0.tokens" : "held-out-0.tokens"
        let bytes = damaged(files[name]!, using: &generator)
        if bytes == files[name]! { continue }
        _ = try writeBytes(bytes, name, in: directory)
        #expect(throws: CorpusError.self, "seed \(seed)") { try TokenShardDataset(directory: directory) }
        _ = try writeBytes(files[name]!, name, in: directory)
      }
      #expect(try TokenShardDataset(directory: directory).training.documentCount > 0)
    }
  }

  @Test(
    "absurd sizes in a header whose checksum is right are told, never trusted",
    arguments: [24, 32, 40, 48, 12, 16, 20, 8])
  func absurdSizes(_ offset: Int) throws {
    try withData { directory, files in
      let original = headerChecksum(files["train-0.tokens"]![..<120])
      #expect(files["train-0.tokens"]![120..<128].elementsEqual(withUnsafeBytes(of: original.littleEndian, Array.init)))
      for value in [UInt32.max, 0x7FFF_FFFF, 0x8000_0000, 1] {
        var bytes = files["train-0.tokens"]!
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset..<offset + 4, with: $0) }
        if offset >= 24 {
          withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset + 4..<offset + 8, with: $0) }
        }
        guard bytes != files["train-0.tokens"] else { continue }
        let sum = headerChecksum(bytes[..<120])
        withUnsafeBytes(of: sum.littleEndian) { bytes.replaceSubrange(120..<128, with: $0) }
        _ = try writeBytes(bytes, "train-0.tokens", in: directory)
        #expect(throws: CorpusError.self) { try TokenShardDataset(directory: directory) }
      }
    }
  }

  @Test("a damaged manifest is a typed error or means the same, never a trap")
  func damagedManifest() throws {
    try withData { directory, files in
      for seed in 1...600 as ClosedRange<UInt64> {
        var generator = SeededGenerator(seed: seed)
        _ = try writeBytes(damaged(files["manifest.json"]!, using: &generator), "manifest.json", in: directory)
        do {
          let data = try TokenShardDataset(directory: directory)
          #expect(data.training.documentCount + data.heldOut.documentCount == 40, "seed \(seed)")
        } catch {
          // A changed shard name is a file that is not there.
          #expect(error is CorpusError || error is FileError, "seed \(seed): \(error)")
        }
      }
    }
  }

  @Test("a manifest cannot lead out of its directory")
  func shardNames() throws {
    try withData { directory, files in
      let text = String(decoding: files["manifest.json"]!, as: UTF8.self)
      _ = try write(
        text.replacingOccurrences(of: "\"train-0", with: "\"../out/train-0"), "manifest.json", in: directory)
      #expect(failure { try TokenShardDataset(directory: directory) }.contains("is no file name"))
    }
  }

  @Test("data of another tokenizer, no data, and shards of other data are refused")
  func wrongData() throws {
    try withData { directory, files in
      let other = String(repeating: "0", count: 64)
      #expect(
        failure { try TokenShardDataset(directory: directory, tokenizerHash: other) }.contains(
          "was prepared with another tokenizer"))
      try FileManager.default.removeItem(atPath: directory + "/train-0.tokens")
      #expect(failure { try TokenShardDataset(directory: directory) }.contains("there is no such file"))
      _ = try writeBytes(files["held-out-0.tokens"]!, "train-0.tokens", in: directory)
      #expect(failure { try TokenShardDataset(directory: directory) }.contains("contradict each other"))
      try FileManager.default.removeItem(atPath: directory + "/manifest.json")
      #expect(failure { try TokenShardDataset(directory: directory) }.contains("is no prepared data"))
      #expect(failure { try TokenShardDataset(directory: directory + "/none") }.contains("there is no such file"))
    }
  }
}

/// The header's checksum, written again from its description: eight lanes of 64 bits, xored, multiplied and shifted.
private func headerChecksum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
  var lanes: [UInt64] = [1, 2, 3, 4, 5, 6, 7, 8]
  let padded = Array(bytes) + [UInt8](repeating: 0, count: (64 - bytes.count % 64) % 64)
  for (index, start) in stride(from: 0, to: padded.count, by: 8).enumerated() {
    let word = (0..<8).reduce(UInt64(0)) { $0 | UInt64(padded[start + $1]) << UInt64(8 * $1) }
    var lane = (lanes[index % 8] ^ word) &* 0x9E37_79B9_7F4A_7C15
    lane ^= lane >> 29
    lanes[index % 8] = lane
  }
  return lanes.reduce(UInt64(bytes.count)) { result, lane in
    let mixed = (result ^ lane) &* 0xBF58_476D_1CE4_E5B9
    return mixed ^ mixed >> 31
  }
}
