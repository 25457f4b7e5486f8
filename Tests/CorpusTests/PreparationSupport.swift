import Foundation
import TestSupport
import Testing
import Tokenization

import Corpus

/// A tokenizer of 400 entries, learned from a few sentences.
let smallTokenizer: Tokenizer = {
  var trainer = try! TokenizerTrainer(vocabularySize: 400, threads: 1)
  for text in [
    "the cat sat on the mat and the dog sat on the log", "世界上最高的山是什么？珠穆朗玛峰。", "user\nassistant\n hello there",
  ] {
    for _ in 0..<5 { try! trainer.add(document: text) }
  }
  return try! trainer.train { _ in }
}()

/// Prepares `content`, written to a file called `name`, and opens the result.
func prepared(
  _ content: String, _ name: String = "data.jsonl", task: DataPreparation.Task = .pretrain(PretrainFilters()),
  wholeFiles: Bool = false, configure: (inout DataPreparation) -> Void = { $0.heldOutFraction = 0 }
) throws -> PreparedData {
  try withTemporaryDirectory { directory in
    try prepared(
      [try write(content, name, in: directory)], to: directory + "/out", task: task, wholeFiles: wholeFiles,
      configure: configure)
  }
}

func prepared(
  _ paths: [String], to output: String, task: DataPreparation.Task = .pretrain(PretrainFilters()),
  wholeFiles: Bool = false, configure: (inout DataPreparation) -> Void = { $0.heldOutFraction = 0 }
) throws -> PreparedData {
  var preparation = DataPreparation(
    task: task, files: try InputFiles(paths, InputOptions(wholeFiles: wholeFiles)).files,
    tokenizer: smallTokenizer)
  configure(&preparation)
  _ = try preparation.write(to: output, programVersion: "test")
  let dataset = try TokenShardDataset(directory: output, tokenizerHash: preparation.tokenizer.contentHash)
  return PreparedData(dataset, preparation.tokenizer)
}

func sft(_ configure: (inout ConversationFilters) -> Void = { _ in }) -> DataPreparation.Task {
  var filters = ConversationFilters()
  configure(&filters)
  return .sft(filters, ChatTemplate())
}

func dpo(maximumTokens: Int = 512) -> DataPreparation.Task {
  .dpo(maximumTokens: maximumTokens, ChatTemplate())
}

func pretrain(_ configure: (inout PretrainFilters) -> Void = { _ in }) -> DataPreparation.Task {
  var filters = PretrainFilters()
  configure(&filters)
  return .pretrain(filters)
}

/// Prepared data read back as text. The mapped shards stay readable after their files are gone.
struct PreparedData {
  let dataset: TokenShardDataset
  var manifest: DataManifest { dataset.manifest }

  private let tokenizer: Tokenizer

  init(_ dataset: TokenShardDataset, _ tokenizer: Tokenizer = smallTokenizer) {
    (self.dataset, self.tokenizer) = (dataset, tokenizer)
  }

  /// Each training document as text, what is trained on in brackets: `<s>[text</s>]`.
  var marked: [String] { marked(dataset.training) }

  func marked(_ split: TokenSplit) -> [String] {
    (0..<split.documentCount).map { number in
      let (shard, document) = split.locate(number)
      let range = shard.tokenRange(ofDocument: document)
      var text = ""
      var start = range.lowerBound
      while start < range.upperBound {
        func isTrained(_ index: Int) -> Bool { index > range.lowerBound && shard.isTrained(index) }
        var end = start + 1
        while end < range.upperBound && isTrained(end) == isTrained(start) { end += 1 }
        let part = tokenizer.decode((start..<end).map(shard.token))
        text += isTrained(start) ? "[\(part)]" : part
        start = end
      }
      return text
    }
  }

  /// Each document of a split as text.
  func texts(_ split: TokenSplit) -> [String] {
    (0..<split.documentCount).map { number in
      let (shard, document) = split.locate(number)
      return tokenizer.decode(shard.tokenRange(ofDocument: document).map(shard.token))
    }
  }
}

/// A JSON object of texts on one line.
func jsonRow(_ row: [String: Any]) -> String {
  String(decoding: try! JSONSerialization.data(withJSONObject: row, options: [.sortedKeys]), as: UTF8.self) + "\n"
}

/// The sentence of the error that `body` throws.
func failure(_ body: () throws -> some Any, sourceLocation: SourceLocation = #_sourceLocation) -> String {
  do {
    _ = try body()
    Issue.record("no error was thrown", sourceLocation: sourceLocation)
    return ""
  } catch {
    return "\(error)"
  }
}
