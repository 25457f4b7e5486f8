import Foundation
import Synchronization
import TestSupport
import Testing
import Tokenization

import Corpus

/// Every file below a directory, by its path.
func contents(_ directory: String) throws -> [String: Data] {
  var files: [String: Data] = [:]
  for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
    files[name] = FileManager.default.contents(atPath: directory + "/" + name)
  }
  return files
}

@Suite("A preparation")
struct PreparationRunTests {
  @Test("gives the same files with any number of threads, broken and repeated rows included")
  func threads() throws {
    try withTemporaryDirectory { directory in
      var generator = SeededGenerator(seed: 1)
      var rows = ""
      for number in 0..<30_000 {
        let text = String(repeating: "the cat sat on \(number) ", count: Int.random(in: 1...6, using: &generator))
        rows += number % 1000 == 7 ? "{broken\n" : jsonRow(["text": number % 10 == 3 ? "again" : text])
      }
      let path = try write(rows, "a.jsonl", in: directory)
      var results: [[String: Data]] = []
      for threads in [1, 2, 7] {
        let data = try prepared([path], to: directory + "/out\(threads)") {
          $0.threads = threads
          $0.dropsDuplicates = true
          $0.heldOutFraction = 0.1
        }
        #expect(data.manifest.rowsBroken == 30)
        #expect(
          data.manifest.brokenRows == [
            "\(path): 30 of 30000 rows, the first in line 8: broken JSON: braces, brackets, quotes or commas do not match"
          ])
        results.append(try contents(directory + "/out\(threads)"))
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }
  }

  @Test("keeps the first of equal rows and counts the others; without the option it keeps all")
  func duplicates() throws {
    let rows = ["a", "b", "a", "a ", "b", "a"].map { jsonRow(["text": $0]) }.joined()
    let data = try prepared(rows) {
      $0.dropsDuplicates = true
      $0.heldOutFraction = 0
    }
    #expect(data.marked == ["<s>[a</s>]", "<s>[b</s>]", "<s>[a </s>]"])
    #expect(data.manifest.rowsDropped == ["duplicate": 3] && data.manifest.filters["deduplicate"] == "true")
    #expect(try prepared(rows).manifest.rowsKept == 6)

    let chats = [("x", "y"), ("x", "z"), ("xy", ""), ("x", "y")].map { jsonRow(["q": $0, "a": $1 + "."]) }.joined()
    let kept = try prepared(chats, task: sft()) { $0.dropsDuplicates = true }
    #expect(kept.manifest.rowsKept == 3 && kept.manifest.rowsDropped == ["duplicate": 1])
  }

  @Test("takes no two of fifty thousand different rows for equal, and finds all repeated")
  func manyDuplicates() throws {
    let rows = (0..<50_000).map { "row \($0)\n" }.joined()
    let manifest = try prepared(rows + rows, "a.txt") { $0.dropsDuplicates = true }.manifest
    #expect(manifest.rowsKept == 50_000 && manifest.rowsDropped == ["duplicate": 50_000])
  }

  @Test("holds out the same documents whatever their order and company, none of them in training")
  func heldOut() throws {
    let texts = (0..<4000).map { "document \($0)" }
    func heldOut(_ texts: [String], seed: Int = 42) throws -> (heldOut: Set<String>, training: Set<String>) {
      let data = try prepared(texts.map { jsonRow(["text": $0]) }.joined()) {
        $0.heldOutFraction = 0.1
        $0.seed = seed
      }
      return (Set(data.texts(data.dataset.heldOut)), Set(data.texts(data.dataset.training)))
    }
    let first = try heldOut(texts)
    #expect(first.heldOut.isDisjoint(with: first.training) && first.heldOut.count + first.training.count == 4000)
    // Six standard deviations of a binomial: 400 ± 6·√(4000·0.1·0.9).
    #expect(abs(first.heldOut.count - 400) < 114)
    #expect(try heldOut(texts.reversed()).heldOut == first.heldOut)
    #expect(
      try heldOut(Array(texts[..<2000])).heldOut == first.heldOut.filter { Int($0.dropFirst(12).dropLast(4))! < 2000 })
    let other = try heldOut(texts, seed: 43).heldOut
    #expect(other.intersection(first.heldOut).count < 100)
  }

  @Test("of few documents still trains on at least one", arguments: 0..<40)
  func tiny(_ seed: Int) throws {
    let data = try prepared("only one\n", "a.txt") {
      $0.heldOutFraction = 0.5
      $0.seed = seed
    }
    #expect(data.marked == ["<s>[only one</s>]"] && data.dataset.heldOut.documentCount == 0)
  }

  @Test("counts broken rows, shows the first of a kind, and stops at the first when strict")
  func brokenRows() throws {
    let good = jsonRow(["text": "good"])
    let rows =
      good + String(repeating: "{\"tex\": 1}\n", count: 7) + String(repeating: good, count: 6)
    let data = try prepared(rows)
    #expect(
      data.manifest.rowsRead == 14 && data.manifest.rowsKept == 7 && data.manifest.rowsBroken == 7)
    #expect(data.manifest.brokenRows.count == 1)
    #expect(
      data.manifest.brokenRows[0].hasSuffix(
        "data.jsonl: 7 of 14 rows, the first in line 2: there is no key \"text\" but \"tex\". A good row: "
          + "{\"text\": \"Once upon a time…\"}"),
      "\(data.manifest.brokenRows[0])")
    #expect(failure { try prepared(rows) { $0.isStrict = true } }.contains("data.jsonl:2: there is no key \"text\""))
  }

  @Test(
    "of a few documents one is held out where chance gave none, the same for any number of threads")
  func heldOutAtLeastOne() throws {
    // With 2% of 30 documents none is held out for half of the seeds.
    let rows = (0..<30).map { "document \($0) of a few\n" }.joined()
    var counts: [Int] = []
    for seed in 0..<12 {
      let data = try prepared(rows, "a.txt") {
        $0.heldOutFraction = 0.02
        $0.seed = seed
        $0.threads = 1 + seed % 3
      }
      counts.append(data.dataset.heldOut.documentCount)
      let all = data.texts(data.dataset.training) + data.texts(data.dataset.heldOut)
      #expect(all.count == 30 && Set(all).count == 30)
    }
    #expect(counts.allSatisfy { $0 >= 1 } && counts.count { $0 == 1 } > 6)
    for none in [(rows, 0.0), ((0..<19).map { "document \($0)\n" }.joined(), 1e-9)] {
      let data = try prepared(none.0, "a.txt") { $0.heldOutFraction = none.1 }
      #expect(data.dataset.heldOut.documentCount == 0)
    }
  }

  @Test("invalid UTF-8 is a broken row, and the others are read")
  func invalidUTF8() throws {
    try withTemporaryDirectory { directory in
      let bytes = Array("good\n".utf8) + [0xC3, 0x28, 0x0A] + Array("also\n".utf8)
      let data = try prepared([try writeBytes(bytes, "a.txt", in: directory)], to: directory + "/out")
      #expect(data.marked == ["<s>[good</s>]", "<s>[also</s>]"])
      #expect(data.manifest.brokenRows.first?.contains("a.txt:2: the line is not valid UTF-8 (") == true)
    }
  }

  @Test(
    "with no usable row is one sentence and leaves nothing behind",
    arguments: [
      ("a.jsonl", "{\"x\": 1}\n{\"y\": 2}\n", ": 2 of 2 rows cannot be read, as line 1: "),
      (
        "a.jsonl", "{\"text\": \"\"}\n{\n", "none of the 2 rows is left: 1 without text; 1 broken ("
      ),
      ("a.csv", "text\n", "there is no row in it"),
      ("a.txt", " \n\n", "there is no row in it"),
      ("a.txt", "", "there is nothing in it"),
      ("a.csv", "q,a\nx,y\n", "there is no column \"text\""),
    ])
  func nothingUsable(_ name: String, _ content: String, _ message: String) throws {
    try withTemporaryDirectory { directory in
      let path = try write(content, name, in: directory)
      let error = failure { try prepared([path], to: directory + "/out") }
      #expect(error.contains(message) && !error.contains("\n"), "\(error)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [name])
    }
  }

  @Test("that is stopped half way leaves what was there before")
  func stopped() throws {
    try withTemporaryDirectory { directory in
      let path = try write(String(repeating: "the cat sat\n", count: 200_000), "a.txt", in: directory)
      _ = try prepared([try write("old\n", "old.txt", in: directory)], to: directory + "/out")
      let before = try contents(directory)
      for threads in [1, 3] {
        var preparation = DataPreparation(
          task: pretrain(), files: try InputFiles([path]).files, tokenizer: smallTokenizer)
        preparation.threads = threads
        let calls = Mutex(0)
        #expect(throws: PreparationStopped.self) {
          try preparation.write(
            to: directory + "/out", programVersion: "test",
            isStopRequested: {
              calls.withLock {
                $0 += 1
                return $0 > 2
              }
            })
        }
        #expect(calls.withLock { $0 } == 3)
        #expect(try contents(directory) == before)
      }
    }
  }

  @Test("replaces earlier prepared data and nothing else")
  func replacing() throws {
    try withTemporaryDirectory { directory in
      let path = try write("one\n", "a.txt", in: directory)
      let output = directory + "/out"
      _ = try prepared([try write("old\n", "old.txt", in: directory)], to: output)
      #expect(try prepared([path], to: output + "/").marked == ["<s>[one</s>]"])
      _ = try write("mine", "out/notes.txt", in: directory)
      #expect(failure { try prepared([path], to: output) }.contains("holds other files than prepared data"))
      #expect(failure { try prepared([path], to: directory) }.contains("holds other files than prepared data"))
      #expect(failure { try prepared([path], to: path) }.contains("a file is in the way"))
      #expect(failure { try prepared([path], to: path + "/out") }.contains("a file is in the way"))
      try FileManager.default.createDirectory(atPath: directory + "/empty", withIntermediateDirectories: true)
      #expect(try prepared([path], to: directory + "/empty").marked == ["<s>[one</s>]"])
    }
  }

  @Test("keeps a chat template that the tokenizer has in a file of its own, and can be replaced with it")
  func separateTemplate() throws {
    try withTemporaryDirectory { directory in
      let path = try write("one\n", "a.txt", in: directory)
      try smallTokenizer.save(to: directory + "/tokenizer")
      _ = try write("{}", "tokenizer/tokenizer_config.json", in: directory)
      _ = try write("{{ messages }}", "tokenizer/chat_template.jinja", in: directory)
      let tokenizer = try Tokenizer(directory: directory + "/tokenizer")
      for _ in 0..<2 {
        _ = try prepared([path], to: directory + "/out") { $0.tokenizer = tokenizer }
        #expect(try ChatTemplate.jinjaText(TokenizerFiles(directory: directory + "/out")) == "{{ messages }}")
      }
    }
  }

  @Test("of a vocabulary of more than 65535 tokens keeps them whole")
  func largeVocabulary() throws {
    var generator = SeededGenerator(seed: 1)
    var trainer = try TokenizerTrainer(vocabularySize: 66_000, threads: 1)
    let words = (0..<40_000).map { _ in
      String((0..<9).map { _ in "abcdefghijklmnopqrstuvwxyz".randomElement(using: &generator)! })
    }
    for _ in 0..<2 { for word in words { try trainer.add(document: word) } }
    let tokenizer = try trainer.train { _ in }
    try #require(tokenizer.vocabularySize == 66_000)
    try withTemporaryDirectory { directory in
      let path = try write(words.joined(separator: "\n"), "a.txt", in: directory)
      var preparation = DataPreparation(
        task: pretrain(), files: try InputFiles([path]).files, tokenizer: tokenizer)
      preparation.heldOutFraction = 0
      _ = try preparation.write(to: directory + "/out", programVersion: "test")
      let training = try TokenShardDataset(directory: directory + "/out").training
      let tokens = (0..<training.tokenCount).map { training.shards[0].token($0) }
      #expect(try tokens == words.flatMap { tokenizer.beginTokens + (try tokenizer.encode($0)) + [tokenizer.endToken] })
      #expect(tokens.contains { $0 > 65_535 })
    }
  }
}
