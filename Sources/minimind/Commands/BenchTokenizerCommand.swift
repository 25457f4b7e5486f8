import Foundation
import ModelFiles
import Storage
import Tokenization

/// `minimind bench tokenizer`: rates of encoding, decoding and training on this machine.
let benchTokenizerCommand: Command = {
  let directory = Option.required("tokenizer", "DIR", help: "Directory with tokenizer.json.")
  let input = Option.required("input", "FILE", help: "JSONL with \"text\", or text, a document a line.")
  return Command(
    "bench", "tokenizer", summary: "measures encoding, decoding and training a tokenizer",
    options: [directory, input, Option.json, Option.threads],
    example: "minimind bench tokenizer --tokenizer my-tokenizer --input novel.txt"
  ) { invocation in
    let threads = threadCount(invocation)
    let tokenizer = try Tokenizer(TokenizerFiles(invocation[directory]))
    let documents = try Documents(of: invocation[input])
    let result = try documents.bytes.withUnsafeBytes { text in
      try TokenizerBenchmark(tokenizer, text, documents: documents.ranges, threads: threads)
    }
    if invocation[Option.json] {
      try printJSON(result)
    } else {
      try Console.standardOutput.write(result.table)
    }
  }
}()

/// All documents of a file, end to end.
private struct Documents {
  private(set) var bytes: [UInt8] = []
  private(set) var ranges: [Range<Int>] = []

  init(of path: String) throws {
    var batches = try LineBatches(path)
    defer { batches.close() }
    let isJSONL = path.hasSuffix(".jsonl")
    while let lines = try batches.next() {
      for line in lines {
        let start = bytes.count
        if isJSONL {
          do { bytes += try line.withUnsafeBytes(documentText(ofJSONLine:)).utf8 } catch {
            throw CommandError("\(path):\(ranges.count + 1): \(error)")
          }
        } else {
          bytes += line
        }
        ranges.append(start..<bytes.count)
      }
    }
    guard !bytes.isEmpty else { throw CommandError("\(path) is empty; some megabytes of text are needed.") }
  }
}

/// Medians of several runs over the same documents.
private struct TokenizerBenchmark: Encodable {
  let encodeBytesPerSecond: Double
  let encodeBytesPerSecondAllThreads: Double
  let decodeBytesPerSecond: Double
  let trainSeconds: Double
  let trainSecondsAllThreads: Double
  let bytesPerToken: Double
  let bytes: Int
  let vocabularySize: Int
  let threads: Int

  enum CodingKeys: String, CodingKey {
    case encodeBytesPerSecond = "encode_bytes_per_second"
    case encodeBytesPerSecondAllThreads = "encode_bytes_per_second_all_threads"
    case decodeBytesPerSecond = "decode_bytes_per_second"
    case trainSeconds = "train_seconds"
    case trainSecondsAllThreads = "train_seconds_all_threads"
    case bytesPerToken = "bytes_per_token"
    case bytes
    case vocabularySize = "vocabulary_size"
    case threads
  }

  init(_ tokenizer: Tokenizer, _ text: UnsafeRawBufferPointer, documents: [Range<Int>], threads: Int) throws {
    self.threads = threads
    bytes = text.count
    vocabularySize = tokenizer.vocabularySize

    // SAFETY: the text is borrowed until this initialiser returns, and is only read.
    nonisolated(unsafe) let text = text
    @Sendable func encodeAll(_ range: Range<Int>) throws -> [Int32] {
      var tokens: [Int32] = []
      for document in documents[range] {
        try tokenizer.encode(UnsafeRawBufferPointer(rebasing: text[document]), into: &tokens)
      }
      return tokens
    }
    var tokens: [Int32] = []
    let encoding = try medianSeconds { tokens = try encodeAll(documents.indices) }
    let blocks = min(documents.count, threads * 8)
    let parallel = try medianSeconds {
      _ = try mapConcurrently(count: blocks, threads: threads) { block in
        try encodeAll(documents.count * block / blocks..<documents.count * (block + 1) / blocks).count
      }
    }
    let decoding = medianSeconds { _ = tokenizer.decode(tokens) }
    let vocabulary = max(tokenizer.vocabularySize, TokenizerTrainer.smallestVocabulary)
    func train(threads: Int) throws {
      var trainer = try TokenizerTrainer(
        vocabularySize: vocabulary, threads: threads, split: tokenizer.split ?? .gpt2)
      for document in documents { try trainer.add(document: UnsafeRawBufferPointer(rebasing: text[document])) }
      _ = try trainer.train()
    }
    trainSeconds = try medianSeconds(runs: 3) { try train(threads: 1) }
    trainSecondsAllThreads = try medianSeconds(runs: 3) { try train(threads: threads) }
    encodeBytesPerSecond = Double(text.count) / encoding
    encodeBytesPerSecondAllThreads = Double(text.count) / parallel
    decodeBytesPerSecond = Double(text.count) / decoding
    bytesPerToken = Double(text.count) / Double(max(1, tokens.count))
  }

  var table: String {
    var table = TextTable([("", .left), ("1 thread", .right), ("\(threads) threads", .right)])
    func rate(_ value: Double) -> String { formatBytes(Int(value)) + "/s" }
    table.add(["encode", rate(encodeBytesPerSecond), rate(encodeBytesPerSecondAllThreads)])
    table.add(["decode", rate(decodeBytesPerSecond), ""])
    table.add(["train \(vocabularySize) entries", formatDuration(trainSeconds), formatDuration(trainSecondsAllThreads)])
    return table.render() + String(format: "%@ of text, %.2f bytes a token\n", formatBytes(bytes), bytesPerToken)
  }
}
