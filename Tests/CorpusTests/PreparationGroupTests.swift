import Foundation
import Processes
import Synchronization
import TestSupport
import Testing
import Tokenization

import Corpus

/// Several ranks, as threads, prepare the same data; what each has thrown, by rank.
@discardableResult
private func prepare(
  _ paths: [String], to output: String, ranks: Int, task: DataPreparation.Task,
  configure: (inout DataPreparation, _ rank: Int) throws -> Void = { _, _ in },
  isStopRequested: @escaping @Sendable (_ rank: Int) -> Bool = { _ in false }
) throws -> [String?] {
  let preparations = try (0..<ranks).map { rank in
    var preparation = DataPreparation(
      task: task, files: try InputFiles(paths).files, tokenizer: smallTokenizer)
    try configure(&preparation, rank)
    return preparation
  }
  return try ThreadProcessGroup.run(ranks) { exchange in
    let rank = exchange.rank
    do {
      _ = try preparations[rank].write(
        to: output, programVersion: "test", exchange: exchange, isStopRequested: { isStopRequested(rank) })
      return nil
    } catch { return "\(error)" }
  }
}

private let otherTokenizer: Tokenizer = {
  var trainer = try! TokenizerTrainer(vocabularySize: 261, threads: 1)
  try! trainer.add(document: "dogs and other dogs")
  return try! trainer.train()
}()

@Suite("A preparation by several processes")
struct PreparationGroupTests {
  /// Text whose documents are new, repeated, nearly repeated, broken and longer than a block.
  private func mixedInputs(in directory: String) throws -> [String] {
    var generator = SeededGenerator(seed: 3)
    let words = (0..<2000).map { "w\($0)" }
    func text(_ count: Int) -> String {
      (0..<count).map { _ in words.randomElement(using: &generator)! }.joined(separator: " ")
    }
    let texts = (0..<3000).map { _ in text(80) }
    func rows(_ seed: Int) -> [String] {
      (0..<9000).map { number in
        switch (number * 31 + seed) % 10 {
        case 0: "{broken \(number)\n"
        case 1, 2: jsonRow(["text": texts.randomElement(using: &generator)!])
        case 3, 4: jsonRow(["text": texts.randomElement(using: &generator)! + " more"])
        default: jsonRow(["text": text(Int.random(in: 1...40, using: &generator))])
        }
      }
    }
    return [
      try write(rows(0).joined(), "a.jsonl", in: directory),
      try write(rows(5).joined() + jsonRow(["text": text(300_000)]) + rows(7).joined(), "b.jsonl", in: directory),
      try write("text\n" + texts.prefix(2000).map { "\"\($0),\n\"" }.joined(separator: "\n"), "c.csv", in: directory),
    ]
  }

  @Test("gives the same files for any number of them")
  func anyNumber() throws {
    try withTemporaryDirectory { directory in
      let paths = try mixedInputs(in: directory)
      var results: [[String: Data]] = []
      for ranks in 1...4 {
        let output = directory + "/out\(ranks)"
        let errors = try prepare(paths, to: output, ranks: ranks, task: pretrain { $0.nearDuplicates = 0.8 }) {
          $0.dropsDuplicates = true
          $0.heldOutFraction = 0.1
          $0.threads = 1 + ($1 + ranks) % 3
        }
        #expect(errors.allSatisfy { $0 == nil })
        results.append(try contents(output))
      }
      let manifest = try DataManifest(directory: directory + "/out1")
      #expect(
        manifest.rowsBroken == 2700 && manifest.brokenRows.count == 2
          && manifest.rowsChanged["split"] == 1)
      #expect(
        manifest.rowsDropped["duplicate"]! > 1000 && manifest.rowsDropped["near-duplicate"]! > 1000)
      #expect(manifest.filters["near-duplicates"] == "0.8" && manifest.heldOut.documents > 100)
      for result in results.dropFirst() { #expect(result == results[0]) }
    }
  }

  @Test("of conversations and pairs gives the same files, too", arguments: [true, false])
  func otherKinds(isSFT: Bool) throws {
    try withTemporaryDirectory { directory in
      let rows = (0..<12_000).map { number in
        isSFT
          ? jsonRow(["q": "what is \(number % 7000)?", "a": "the cat sat on \(number % 7000)"])
          : jsonRow(["prompt": "what is \(number)?", "chosen": "a cat \(number % 7)", "rejected": "a dog"])
      }
      let path = try write(rows.joined(), "a.jsonl", in: directory)
      for ranks in 1...3 {
        try prepare(
          [path], to: directory + "/out\(ranks)", ranks: ranks,
          task: isSFT ? sft() : .dpo(maximumTokens: 512, ChatTemplate())
        ) { preparation, _ in preparation.dropsDuplicates = true }
      }
      let one = try contents(directory + "/out1")
      #expect(try DataManifest(directory: directory + "/out1").rowsKept == (isSFT ? 7000 : 12_000))
      for ranks in 2...3 { #expect(try contents(directory + "/out\(ranks)") == one) }
    }
  }

  @Test("when strict stops at the first broken row of the input, whoever reads it", arguments: 1...4)
  func strict(ranks: Int) throws {
    try withTemporaryDirectory { directory in
      let good = String(repeating: "{\"text\": \"the cat sat on the mat\"}\n", count: 60_000)
      let path = try write(good + "{\"txt\": 1}\n" + good + "{\"txt\": 1}\n", "a.jsonl", in: directory)
      let errors = try prepare([path], to: directory + "/out", ranks: ranks, task: pretrain()) { preparation, _ in
        preparation.isStrict = true
      }
      #expect(errors.allSatisfy { $0?.hasPrefix("\(path):60001: there is no key \"text\"") == true }, "\(errors)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["a.jsonl"])
    }
  }

  @Test("of which one would prepare something else does not begin")
  func others() throws {
    try withTemporaryDirectory { directory in
      let text = String(repeating: "the cat sat on the mat\n", count: 100_000)
      let path = try write(text, "a.txt", in: directory)
      let copy = try write(text, "copy/a.txt", in: directory)
      let changed = text.replacing("mat\nthe cat sat", with: "mat\nthe dog sat", maxReplacements: 1)
      let other = try write(changed, "other.txt", in: directory)
      func failure(_ name: String, configure: (inout DataPreparation) throws -> Void) throws {
        let errors = try prepare([path], to: directory + "/out", ranks: 3, task: pretrain()) { preparation, rank in
          if rank == 2 { try configure(&preparation) }
        }
        let beginning = "process 2 would make another result than process 0. It differs in \(name) ("
        #expect(errors.allSatisfy { $0?.hasPrefix(beginning) == true }, "\(errors)")
        #expect(!FileManager.default.fileExists(atPath: directory + "/out"))
      }
      try failure("--seed") { $0.seed = 7 }
      try failure("--held-out") { $0.heldOutFraction = 0.3 }
      try failure("--deduplicate") { $0.dropsDuplicates = true }
      try failure("--max-characters") { $0.task = pretrain { $0.maximumCharacters = 100 } }
      try failure("input files") { $0.files = try InputFiles([other]).files }
      try failure("input files") { $0.files += try InputFiles([path]).files }
      try failure("tokenizer") { $0.tokenizer = otherTokenizer }
      // On another machine the same file may have another path, and the process another number of threads.
      let errors = try prepare([path], to: directory + "/out", ranks: 2, task: pretrain()) { preparation, rank in
        if rank == 1 { preparation.files = try InputFiles([copy]).files }
        preparation.threads = 1 + rank
      }
      #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
    }
  }

  @Test("ends as a whole when one of them cannot read, and leaves nothing")
  func unreadable() throws {
    try withTemporaryDirectory { directory in
      let text = String(repeating: "the cat sat on the mat\n", count: 100_000)
      let path = try write(text, "a.txt", in: directory)
      let (first, second) = (try write(text, "b.txt", in: directory), try write(text, "lost/b.txt", in: directory))
      let lost = second
      let errors = try prepare(
        [path, first], to: directory + "/out", ranks: 3, task: pretrain(),
        configure: { preparation, rank in
          if rank == 1 { preparation.files = try InputFiles([path, lost]).files }
        },
        isStopRequested: { rank in
          // The first round is over before the second file is opened.
          if rank == 1 { try? FileManager.default.removeItem(atPath: lost) }
          return false
        })
      #expect(errors[1]?.contains("cannot open \(lost)") == true, "\(errors)")
      for rank in [0, 2] { #expect(errors[rank] == "process 1 of 3: " + errors[1]!) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == ["a.txt", "b.txt", "lost"])
    }
  }

  @Test("stops as a whole when one of them is asked to, and leaves nothing")
  func stopped() throws {
    try withTemporaryDirectory { directory in
      let path = try write(String(repeating: "the cat sat on the mat\n", count: 200_000), "a.txt", in: directory)
      let rounds = Mutex(0)
      let errors = try prepare(
        [path], to: directory + "/out", ranks: 3, task: pretrain(),
        isStopRequested: { rank in
          guard rank == 2 else { return false }
          return rounds.withLock {
            $0 += 1; return $0 > 2
          }
        })
      #expect(errors.allSatisfy { $0 == "PreparationStopped()" }, "\(errors)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["a.txt"])
    }
  }

  @Test("keeps each key in one process, looks it up for all, and needs as much memory as is stated", arguments: 1...4)
  func memory(ranks: Int) throws {
    let rounds = 40
    let keysPerRound = 5000
    // One key in four was there before, in any rank's block of any earlier round, or in the same.
    var generator = SeededGenerator(seed: 9)
    var all: [Digest] = []
    for _ in 0..<rounds * ranks * keysPerRound {
      if !all.isEmpty, Int.random(in: 0..<4, using: &generator) == 0 {
        all.append(all.randomElement(using: &generator)!)
      } else {
        all.append(Digest(low: generator.next(), high: generator.next()))
      }
    }
    let keys = all
    struct Key: Hashable { var low, high: UInt64 }
    var set: Set<Key> = []
    let expected = keys.map { set.insert(Key(low: $0.low, high: $0.high)).inserted }

    let found = try ThreadProcessGroup.run(ranks) { exchange in
      let group = PreparationGroup(exchange)
      let answers = try (0..<rounds).map { round in
        let start = (round * ranks + exchange.rank) * keysPerRound
        return try group.areNew(Array(keys[start..<start + keysPerRound]))
      }
      return (answers: answers, count: group.seen.count, slotBytes: group.seen.slotBytes)
    }
    let answers = (0..<rounds).flatMap { round in found.flatMap { $0.answers[round] } }
    #expect(answers == expected)
    #expect(found.reduce(0) { $0 + $1.count } == set.count)
    for rank in found {
      let share = Double(set.count) / Double(ranks)
      #expect(abs(Double(rank.count) - share) <= 6 * share.squareRoot())
      // 8 bytes at a load of 70 to 87.5 percent; tables begin with 16 slots.
      #expect(Double(rank.slotBytes) >= Double(rank.count) * 8 / 0.875)
      #expect(Double(rank.slotBytes) <= Double(rank.count) * 8 / 0.69 + 4096 * 16 * 8)
    }
  }
}
