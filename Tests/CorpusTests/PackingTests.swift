import Foundation
import Model
import TestSupport
import Testing

import Corpus

/// Documents of random lengths from 3 tokens to a few hundred, so that some are longer than any sequence below.
private func randomData(_ seed: UInt64, count: Int = 60, task: DataPreparation.Task = pretrain()) throws -> PreparedData
{
  var generator = SeededGenerator(seed: seed)
  let words = ["the", "cat", "sat", "on", "山", "log", "xyz"]
  let rows = (0..<count).map { number in
    let length =
      number % 10 == 0 ? Int.random(in: 100...300, using: &generator) : Int.random(in: 0...20, using: &generator)
    let text = (0..<length).map { _ in words.randomElement(using: &generator)! }.joined(separator: " ")
    return switch task {
    case .pretrain: jsonRow(["text": "\(number) " + text])
    case .sft: jsonRow(["q": "\(number)", "a": "a " + text])
    case .dpo: jsonRow(["prompt": "\(number)", "chosen": "a " + text, "rejected": "b " + text])
    case .kto: jsonRow(["q": "\(number)", "a": "a " + text, "label": number % 2 == 0])
    }
  }
  return try prepared(rows.joined(), task: task)
}

/// All batches of one epoch.
private func epoch(_ sequence: inout BatchSequence, maximumTokens: Int) -> [Batch] {
  var batches: [Batch] = []
  let first = sequence.position.epoch
  while true {
    var ahead = sequence
    var batch = Batch()
    guard ahead.next(maximumTokens: maximumTokens, into: &batch), ahead.position.epoch == first else { return batches }
    batches.append(batch)
    sequence = ahead
  }
}

/// The token pairs (token, its target, weight) of a batch, in words that can be counted.
private func pairs(_ batches: [Batch]) -> [String: Int] {
  batches.reduce(into: [:]) { counts, batch in
    for index in batch.tokens.indices {
      counts["\(batch.tokens[index])>\(batch.targets[index])*\(batch.lossWeights[index])", default: 0] += 1
    }
  }
}

@Suite("Packing batches")
struct PackingTests {
  @Test(
    "every target of a split is read exactly once an epoch, whatever the sizes",
    arguments: [(8, 8), (32, 100), (512, 512), (512, 4096)])
  func everyTokenOnce(_ sequenceLength: Int, _ maximumTokens: Int) throws {
    for (seed, task) in [(1, pretrain()), (2, sft { $0.maximumTokens = 4096 })] {
      let split = try randomData(UInt64(seed), task: task).dataset.training
      var expected: [String: Int] = [:]
      for document in 0..<split.documentCount {
        let (shard, number) = split.locate(document)
        for index in shard.tokenRange(ofDocument: number).dropLast() {
          expected[
            "\(shard.token(index))>\(shard.token(index + 1))*\(shard.isTrained(index + 1) ? Float(1) : 0)", default: 0] +=
            1
        }
      }
      for shuffleSeed in [nil, 7] as [UInt64?] {
        var sequence = try BatchSequence(split, sequenceLength: sequenceLength, shuffleSeed: shuffleSeed)
        let batches = epoch(&sequence, maximumTokens: maximumTokens)
        #expect(pairs(batches) == expected)
        #expect(batches.reduce(0) { $0 + $1.tokenCount } == split.inputTokenCount)
        #expect(sequence.position.tokens == split.inputTokenCount)
        #expect(batches.allSatisfy { $0.tokenCount <= maximumTokens && $0.tokenCount > 0 })
        #expect(batches.reduce(0) { $0 + Int($1.lossWeights.reduce(0, +)) } == split.trainedTokenCount)
      }
    }
  }

  @Test("documents in a batch are whole or chunks of the sequence length, and offsets frame them")
  func boundaries() throws {
    let split = try randomData(3).dataset.training
    var sequence = try BatchSequence(split, sequenceLength: 32, shuffleSeed: 9)
    for batch in epoch(&sequence, maximumTokens: 100) {
      #expect(batch.documentOffsets.first == 0 && batch.documentOffsets.last == Int32(batch.tokenCount))
      #expect(batch.targets.count == batch.tokenCount && batch.lossWeights.count == batch.tokenCount)
      for document in 0..<batch.documentCount {
        let range = Int(batch.documentOffsets[document])..<Int(batch.documentOffsets[document + 1])
        #expect((1...32).contains(range.count))
        // Inside a document the target of a token is the next token: nothing crosses a border.
        #expect(batch.targets[range].dropLast().elementsEqual(batch.tokens[range].dropFirst()))
        // A document starts with <s> unless it goes on from a full chunk, and ends before </s> unless it is one.
        #expect(
          batch.tokens[range.lowerBound] == smallTokenizer.beginToken || document == 0
            || batch.documentOffsets[document] - batch.documentOffsets[document - 1] == 32)
        #expect(batch.targets[range.upperBound - 1] == smallTokenizer.endToken || range.count == 32)
      }
    }
  }

  @Test("going on from a saved position equals an unbroken sequence, also inside a long document")
  func resuming() throws {
    let split = try randomData(4).dataset.training
    var unbroken = try BatchSequence(split, sequenceLength: 16, shuffleSeed: 5)
    var sawOffset = false
    for _ in 0..<400 {
      let saved = try JSONDecoder().decode(BatchPosition.self, from: JSONEncoder().encode(unbroken.position))
      sawOffset = sawOffset || saved.offset > 0
      var resumed = try BatchSequence(split, sequenceLength: 16, shuffleSeed: 5, position: saved)
      for _ in 0..<3 {
        var one = Batch()
        var other = Batch()
        var copy = unbroken
        #expect(copy.next(maximumTokens: 40, into: &one) && resumed.next(maximumTokens: 40, into: &other))
        #expect(one == other && copy.position == resumed.position)
        unbroken = copy
      }
    }
    #expect(sawOffset && unbroken.position.epoch > 1)
  }

  @Test("epochs differ in order, the same seed repeats them, and without shuffle the order is that of the files")
  func order() throws {
    let split = try randomData(5).dataset.training
    func twoEpochs(_ seed: UInt64) throws -> [[Batch]] {
      var sequence = try BatchSequence(split, sequenceLength: 64, shuffleSeed: seed)
      let first = epoch(&sequence, maximumTokens: 64)
      var batch = Batch()
      var start = sequence
      #expect(start.next(maximumTokens: 64, into: &batch) && start.position.epoch == 1)
      var second = try BatchSequence(split, sequenceLength: 64, shuffleSeed: seed, position: start.position)
      return [first, [batch] + epoch(&second, maximumTokens: 64)]
    }
    let one = try twoEpochs(1)
    #expect(one == (try twoEpochs(1)))
    let other = try twoEpochs(2)
    #expect(one[0] != one[1] && pairs(one[0]) == pairs(one[1]) && one[0] != other[0])

    var inOrder = try BatchSequence(split, sequenceLength: 512, shuffleSeed: nil)
    let tokens = epoch(&inOrder, maximumTokens: 512).flatMap(\.tokens)
    let expected = (0..<split.documentCount).flatMap { document -> [Int32] in
      let (shard, number) = split.locate(document)
      return shard.tokenRange(ofDocument: number).dropLast().map(shard.token)
    }
    #expect(tokens == expected)
    var end = Batch()
    #expect(!inOrder.next(maximumTokens: 512, into: &end) && end.tokenCount == 0)
  }

  @Test("a position that does not lie in the data is refused", arguments: [-1, 61, Int.max])
  func foreignPosition(_ document: Int) throws {
    let split = try randomData(6).dataset.training
    var position = BatchPosition()
    position.document = document
    let message = failure { try BatchSequence(split, sequenceLength: 8, shuffleSeed: 1, position: position) }
    #expect(message.contains("does not lie in the data"))
  }

  @Test("shared out by documents, each process has its part, whole samples and nothing twice", arguments: [1, 2, 5])
  func sharedOutByDocuments(processes: Int) throws {
    for (task, documentsPerSample) in [(pretrain(), 1), (dpo(), 2)] {
      let split = try randomData(7, task: task).dataset.training
      let length = documentsPerSample == 1 ? 32 : split.longestInput
      var sequence = try BatchSequence(
        split, sequenceLength: length, documentsPerSample: documentsPerSample, shuffleSeed: 3)
      let batches = epoch(&sequence, maximumTokens: 2 * length)
      let total = batches.reduce(0) { $0 + $1.tokenCount }
      var kept: [Batch] = []
      for rank in 0..<processes {
        var before = 0
        var tokens = 0
        for batch in batches {
          var part = batch
          let start = part.keep(
            BatchShare(rank: rank, count: processes), before: before, of: total, documentsPerSample: documentsPerSample)
          #expect(part.tokens[...] == batch.tokens[start..<start + part.tokenCount])
          #expect(part.documentOffsets.first == 0 && part.documentOffsets.last == Int32(part.tokenCount))
          #expect(part.documentNumbers.count == part.documentCount && part.documentCount % documentsPerSample == 0)
          before += batch.tokenCount
          tokens += part.tokenCount
          kept.append(part)
        }
        // The ends are off by half a sample at most.
        #expect(abs(tokens - total / processes) <= length * documentsPerSample + 1)
      }
      #expect(pairs(kept) == pairs(batches))
      #expect(kept.flatMap(\.documentNumbers).sorted() == batches.flatMap(\.documentNumbers).sorted())
    }
  }
}
