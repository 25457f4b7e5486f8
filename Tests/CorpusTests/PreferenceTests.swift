import Foundation
import Model
import TestSupport
import Testing
import Tokenization

import Corpus

private let asked = "<s>user\nWho?</s>\n<s>assistant\n"
private let pair = [asked + "[Me.</s>]", asked + "[You.</s>]"]

private func row(_ prompt: String, _ chosen: String, _ rejected: String) -> String {
  jsonRow(["prompt": prompt, "chosen": chosen, "rejected": rejected])
}

@Suite("Reading preferences")
struct PreferenceTests {
  @Test(
    "a pair in every shape",
    arguments: [
      #"{"prompt": "Who?", "chosen": "Me.", "rejected": "You."}"#,
      #"{"instruction": "Who?", "input": "", "chosen": "Me.", "rejected": "You."}"#,
      #"{"question": "Who?", "chosen": "Me.", "rejected": "You.", "score": 3}"#,
      // The prompt in front of both answers, as v1's data have it.
      #"""
      {"chosen": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}],
      "rejected": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "You."}]}
      """#,
      // The prompt once, and once more.
      #"""
      {"prompt": [{"role": "user", "content": "Who?"}], "chosen": [{"role": "assistant", "content": "Me."}],
      "rejected": [{"role": "assistant", "content": "You."}]}
      """#,
      #"""
      {"prompt": "Who?", "chosen": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}],
      "rejected": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "You."}]}
      """#,
      // LLaMA-Factory.
      #"""
      {"conversations": [{"from": "human", "value": "Who?"}], "chosen": {"from": "gpt", "value": "Me."},
      "rejected": {"from": "gpt", "value": "You."}}
      """#,
      // ultrafeedback_binarized: the prompt as text, and the chosen answer once more.
      #"""
      {"prompt": " Who? ", "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}],
      "chosen": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}],
      "rejected": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "You."}]}
      """#,
      // The messages end with the chosen answer.
      #"""
      {"prompt": "Who?", "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}],
      "chosen": "Me.", "rejected": "You."}
      """#,
      #"{"messages": null, "conversations": null, "prompt": "Who?", "chosen": "Me.", "rejected": "You."}"#,
    ])
  func shapes(_ row: String) throws {
    #expect(try prepared(row, "a.json", task: dpo()).marked == pair)
    #expect(try prepared("[\(row)]", "b.json", task: dpo()).marked == pair)
  }

  @Test("CSV with the columns prompt, chosen, rejected")
  func csv() throws {
    #expect(try prepared("prompt,chosen,rejected\nWho?,Me.,You.\n", "a.csv", task: dpo()).marked == pair)
  }

  @Test(
    "system message and earlier turns stand in front of both answers, and only what differs is trained on",
    arguments: [
      #"{"system": "Count.", "prompt": "Who?", "history": [["Hi", "Ho"]], "chosen": "Me.", "rejected": "You."}"#,
      #"""
      {"system": "Count.", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"},
      {"from": "human", "value": "Who?"}], "chosen": {"from": "gpt", "value": "Me."},
      "rejected": {"from": "gpt", "value": "You."}}
      """#,
      #"""
      {"prompt": "Who?", "chosen": [{"role": "system", "content": "Count."}, {"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Who?"}, {"role": "assistant",
      "content": "Me."}], "rejected": [{"role": "system", "content": "Count."}, {"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Who?"}, {"role": "assistant",
      "content": "You."}]}
      """#,
      #"""
      {"system": "Count.", "prompt": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"},
      {"role": "user", "content": "Who?"}], "chosen": "Me.", "rejected": "You."}
      """#,
      #"""
      {"prompt": [{"role": "system", "content": "Count."}], "chosen": [{"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Who?"}, {"role": "assistant",
      "content": "Me."}], "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"},
      {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "You."}]}
      """#,
    ])
  func severalTurns(_ row: String) throws {
    let before = "Count.<s>user\nHi</s>\n<s>assistant\nHo</s>\n"
    #expect(try prepared(row, "a.json", task: dpo()).marked == pair.map { before + $0 })
  }

  @Test("answers that part ways early are trained on from there")
  func earlyDifference() throws {
    func conversation(_ first: String) -> [[String: String]] {
      [("user", "Hi"), ("assistant", first), ("user", "Who?"), ("assistant", "Me.")].map {
        ["role": $0.0, "content": $0.1]
      }
    }
    let data = try prepared(
      jsonRow(["chosen": conversation("Ho"), "rejected": conversation("No")]), task: dpo())
    #expect(
      data.marked == ["Ho", "No"].map { "<s>user\nHi</s>\n<s>assistant\n[\($0)</s>]\n" + asked + "[Me.</s>]" })
  }

  @Test("pairs that are too long, the same twice, or empty are dropped and counted")
  func filters() throws {
    let long = String(repeating: "the cat sat ", count: 40)
    let rows =
      row("Who?", "Me.", "You.") + row("Who?", "Me.", "Me.") + row("Who?", long, "Me.") + row("Who?", "Me.", long)
      + row(long, "Me.", "You.") + row("Who?", " ", "You.") + row("Who?", "Me.", "You.")
    let data = try prepared(rows, task: dpo(maximumTokens: 40)) {
      $0.heldOutFraction = 0
      $0.dropsDuplicates = true
    }
    #expect(data.marked == pair)
    #expect(
      data.manifest.rowsDropped == ["equal-answers": 1, "pair-too-long": 3, "empty-turn": 1, "duplicate": 1])
    #expect(data.manifest.filters == ["max-tokens": "40", "deduplicate": "true"] && data.manifest.kind == .dpo)
    #expect(data.manifest.training.documents == 2 && data.manifest.training.textBytes == 7)
    // A document of exactly the limit stays.
    let limit = try smallTokenizer.encode("<s>user\nWho?</s>\n<s>assistant\nYou.</s>").count
    #expect(try prepared(rows, task: dpo(maximumTokens: limit)).manifest.rowsKept == 2)
    #expect(failure { try prepared(rows, task: dpo(maximumTokens: limit - 1)) }.contains("none of the 7 rows is left"))
  }

  @Test("pairs are held out whole, and the same ones whatever the order")
  func heldOut() throws {
    let rows = (0..<200).map { row("question \($0)?", "yes \($0)", "no \($0)") }
    func split(_ rows: [String]) throws -> (training: Set<String>, heldOut: Set<String>) {
      let data = try prepared(rows.joined(), task: dpo()) { $0.heldOutFraction = 0.2 }
      for side in [data.dataset.training, data.dataset.heldOut] {
        let texts = data.texts(side)
        for (chosen, rejected) in zip(texts, texts.dropFirst()).enumerated().filter({ $0.offset % 2 == 0 }).map(
          \.element)
        {
          #expect(chosen.replacing("\nyes", with: "\nno") == rejected)
        }
      }
      return (Set(data.texts(data.dataset.training)), Set(data.texts(data.dataset.heldOut)))
    }
    let first = try split(rows)
    #expect(first.heldOut.count > 40 && first.heldOut.count < 120 && first.training.count + first.heldOut.count == 400)
    let second = try split(rows.reversed())
    #expect(first.training == second.training && first.heldOut == second.heldOut)
  }

  @Test(
    "a broken row is told with its place and what a good row looks like",
    arguments: [
      (
        #"{"text": "a"}"#,
        #"there is no "chosen" but "text", as in: {"prompt": "Who are you?", "chosen": "I am MiniMind.", "rejected": "Guess."}"#
      ),
      (
        #"{"prompt": "a", "chosen": "b"}"#,
        #"there is no "rejected" but "prompt", "chosen", as in: {"prompt": "Who are you?", "chosen": "I am MiniMind.", "rejected": "Guess."}"#
      ),
      (
        #"{"chosen": "b", "rejected": "c"}"#,
        #"there is no question in it: "prompt", "conversations" or "instruction" is expected beside "chosen", found "chosen", "rejected", as in: {"prompt": "Who are you?", "chosen": "I am MiniMind.", "rejected": "Guess."}"#
      ),
      (#"{"prompt": 3, "chosen": "b", "rejected": "c"}"#, #""prompt" holds a number, a text is expected"#),
      (#"{"prompt": "a", "chosen": 3, "rejected": "c"}"#, #""chosen" holds a number, a text is expected"#),
      (
        #"{"prompt": "a", "chosen": "b", "rejected": {"value": "c"}}"#,
        #""rejected": message 1 has no "role" (or "from") with a text"#
      ),
      (
        #"{"prompt": "a", "chosen": "b", "rejected": [{"role": "robot", "content": "c"}]}"#,
        #""rejected": message 1 is of "robot"; system, user and assistant are understood"#
      ),
      (#"{"prompt": "a", "chosen": [], "rejected": "c"}"#, #"there is no answer at the end of "chosen""#),
      (
        #"{"prompt": "a", "chosen": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "rejected": "c"}"#,
        #""chosen" begins with another question than the prompt"#
      ),
      (
        #"{"prompt": "a", "chosen": [{"role": "user", "content": "a"}], "rejected": "c"}"#,
        #"there is no answer at the end of "chosen""#
      ),
      (
        #"{"prompt": "a", "chosen": [{"role": "assistant", "content": "b"}, {"role": "assistant", "content": "b"}], "rejected": "c"}"#,
        #""chosen": message 3 is of the assistant, the user is expected: after an optional system message, user and assistant take turns"#
      ),
      (
        #"{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}"#,
        #""chosen" and "rejected" do not answer the same question: message 1 is where they differ, and it is no answer in both"#
      ),
      (
        #"{"prompt": "a", "chosen": "b", "rejected": [{"role": "assistant", "content": "b"}, {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}"#,
        #""chosen" and "rejected" do not answer the same question: message 3 is where they differ, and it is no answer in both"#
      ),
      (
        #"["chosen", "rejected"]"#,
        #"the row is a list, an object is expected, as in: {"prompt": "Who are you?", "chosen": "I am MiniMind.", "rejected": "Guess."}"#
      ),
      (#"{"prompt": "a", "#, "broken JSON: braces, brackets, quotes or commas do not match"),
    ])
  func brokenRows(_ row: String, _ reason: String) throws {
    let data = try prepared(
      #"{"prompt": "Who?", "chosen": "Me.", "rejected": "You."}"# + "\n" + row + "\n", task: dpo())
    #expect(data.marked == pair && data.manifest.rowsBroken == 1)
    let message = data.manifest.brokenRows.first ?? ""
    #expect(message.hasSuffix("data.jsonl:2: \(reason)"), "\(message)")
  }

  @Test("10000 damaged rows are each read, dropped or told, never a trap")
  func damagedRows() throws {
    var generator = SeededGenerator(seed: 11)
    let good = [
      #"{"system": "Count.", "prompt": "Who?", "history": [["Hi", "Ho"]], "chosen": "Me.", "rejected": "You."}"#,
      #"{"conversations": [{"from": "human", "value": "Who?"}], "chosen": {"from": "gpt", "value": "Me."}, "rejected": {"from": "gpt", "value": "You."}}"#,
      #"{"chosen": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}], "rejected": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "You."}]}"#,
    ].map { Array($0.utf8) }
    var content: [UInt8] = []
    for number in 0..<10_000 {
      content += damaged(good[number % 3], using: &generator).map { $0 == 10 ? 32 : $0 } + [10]
      // A file of which more than half is broken is refused.
      content += good[number % 3] + [10]
    }
    try withTemporaryDirectory { directory in
      let path = directory + "/rows.jsonl"
      try Data(content).write(to: URL(fileURLWithPath: path))
      let manifest = try prepared([path], to: directory + "/out", task: dpo()).manifest
      let dropped = manifest.rowsDropped.values.reduce(0, +)
      #expect(manifest.rowsKept + manifest.rowsBroken + dropped == manifest.rowsRead)
      #expect(
        manifest.rowsKept > 10_100 && manifest.rowsBroken > 1000 && manifest.rowsRead > 19_000)
      #expect(manifest.training.documents == 2 * manifest.rowsKept)
    }
  }

  @Test("plain text is refused with a row that would do")
  func plainText() throws {
    let message = failure { try prepared("Who?\nMe.\n", "a.txt", task: dpo()) }
    #expect(message.contains(#"with rows like {"prompt": "#), "\(message)")
  }

  @Test("batches hold whole pairs, each once an epoch, whatever the size", arguments: [80, 100, 1000])
  func batchesOfPairs(maximumTokens: Int) throws {
    var generator = SeededGenerator(seed: 4)
    let rows = (0..<50).map { number in
      let answers = (0..<2).map { side in
        "\(side) " + String(repeating: "cat ", count: Int.random(in: 1...10, using: &generator))
      }
      return row("question \(number)?", answers[0], answers[1])
    }
    let split = try prepared(rows.joined(), task: dpo()).dataset.training
    for seed in [nil, 3] as [UInt64?] {
      var sequence = try BatchSequence(split, sequenceLength: 40, documentsPerSample: 2, shuffleSeed: seed)
      var seen: [Int] = []
      var batch = Batch()
      while sequence.next(maximumTokens: maximumTokens, into: &batch) && sequence.position.epoch == 0 {
        #expect(batch.documentCount % 2 == 0 && batch.documentCount == batch.documentNumbers.count)
        #expect(batch.tokenCount <= maximumTokens)
        for (index, number) in batch.documentNumbers.enumerated() {
          #expect(index % 2 == 0 ? number % 2 == 0 : number == batch.documentNumbers[index - 1] + 1)
          let (shard, document) = split.locate(number)
          let expected = shard.tokenRange(ofDocument: document).dropLast().map(shard.token)
          #expect(
            batch.tokens[Int(batch.documentOffsets[index])..<Int(batch.documentOffsets[index + 1])]
              .elementsEqual(expected))
        }
        seen += batch.documentNumbers
        let resumed = try BatchSequence(
          split, sequenceLength: 40, documentsPerSample: 2, shuffleSeed: seed, position: sequence.position)
        var (one, other) = (sequence, resumed)
        var (left, right) = (Batch(), Batch())
        #expect(
          one.next(maximumTokens: maximumTokens, into: &left) == other.next(maximumTokens: maximumTokens, into: &right))
        #expect(left == right)
      }
      #expect(seen.sorted() == Array(0..<100) && (seed == nil) == (seen == seen.sorted()))
    }
    var half = BatchPosition()
    half.document = 1
    let message = failure {
      try BatchSequence(split, sequenceLength: 40, documentsPerSample: 2, shuffleSeed: 1, position: half)
    }
    #expect(message.contains("does not lie in the data"))
  }
}
