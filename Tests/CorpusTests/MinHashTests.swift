import Foundation
import TestSupport
import Testing

import Corpus

/// Jaccard's similarity of two texts, from the words themselves.
private func similarity(_ one: [String], _ other: [String]) -> Double {
  func runs(_ words: [String]) -> Set<[String]> { Set((0...words.count - 5).map { Array(words[$0..<$0 + 5]) }) }
  let (one, other) = (runs(one), runs(other))
  return Double(one.intersection(other).count) / Double(one.union(other).count)
}

private func bands(_ text: String, _ hash: MinHash) -> [Digest] { Array(text.utf8).withUnsafeBytes(hash.bands) }

private func runs(_ text: String) -> [UInt32] { Array(text.utf8).withUnsafeBytes { shingles(of: $0) } }

/// Words of a text, and the same with every `period`th or so replaced.
private func pair(_ count: Int, changed: Double, _ generator: inout SeededGenerator) -> ([String], [String]) {
  let words = (0..<count).map { _ in "w\(Int.random(in: 0..<100_000, using: &generator))" }
  let other = words.map { word in
    Double.random(in: 0..<1, using: &generator) < changed ? "x\(Int.random(in: 0..<100_000, using: &generator))" : word
  }
  return (words, other)
}

@Suite("MinHash")
struct MinHashTests {
  @Test("finds pairs as often as their exact similarity says", arguments: [0.5, 0.7, 0.8, 0.95])
  func probability(threshold: Double) {
    let hash = MinHash(threshold: threshold)
    #expect(abs(hash.probability(similarity: threshold) - 0.5) < 0.11)
    // Each run of five words stays with probability q, and the similarity is about q / (2 - q).
    let changed = 1 - pow(2 * threshold / (1 + threshold), 0.2)
    var generator = SeededGenerator(seed: 11)
    // By tenths of probability, so that a curve of another shape is not taken for this one.
    var found = [Double](repeating: 0, count: 10)
    var expected = found
    var variance = found
    for number in 0..<1500 {
      let (one, other) = pair(60 + number % 100, changed: changed * Double(number % 40) / 20, &generator)
      let probability = hash.probability(similarity: similarity(one, other))
      let bin = min(9, Int(probability * 10))
      expected[bin] += probability
      variance[bin] += probability * (1 - probability)
      let keys = zip(bands(one.joined(separator: " "), hash), bands(other.joined(separator: " "), hash))
      if keys.contains(where: { $0 == $1 }) { found[bin] += 1 }
    }
    #expect(variance.reduce(0, +) > 25)
    for bin in 0..<10 {
      #expect(abs(found[bin] - expected[bin]) <= 5 * variance[bin].squareRoot() + 1e-6, "\(bin): \(found) \(expected)")
    }
  }

  @Test("leaves case, punctuation and spaces out, and takes a Chinese character for a word")
  func words() {
    #expect(runs("The cat, sat on THE mat!") == runs("the  cat\nsat—on the （mat）"))
    #expect(runs("The cat sat on the mat") != runs("the cat sat on a mat"))
    #expect(runs("one two three four five six").count == 2)
    #expect(runs("世界上最高的山，是什么？").count == 10 - 4)
    #expect(runs("世界上最高") != runs("世界上最低") && runs("山").count == 1)
    #expect(
      runs("カタカナ").count == 1 && runs("naïve café") == runs("naïve, café.") && runs("naïve café") != runs("naive cafe"))
    #expect(runs("two words").count == 1 && runs("words two") != runs("two words"))
    #expect(runs(" .,!—。 ").isEmpty && bands("…", MinHash(threshold: 0.8)).isEmpty)
    #expect(bands("a", MinHash(threshold: 0.8)).count == 16)
  }

  @Test("in a preparation leaves out what is like an earlier document, by exact similarity, and nothing else")
  func removal() throws {
    var generator = SeededGenerator(seed: 5)
    var documents: [[String]] = []
    for number in 0..<400 {
      let (one, other) = pair(150, changed: Double(number % 20) / 100, &generator)
      documents += [one, other]
    }
    let rows = documents.map { jsonRow(["text": $0.joined(separator: " ")]) }.joined()
    let data = try prepared(rows, task: pretrain { $0.nearDuplicates = 0.8 })
    let kept = Set(data.texts(data.dataset.training).map { $0.replacingOccurrences(of: "</s>", with: "") })
    var similarities: (kept: [Double], dropped: [Double]) = ([], [])
    for index in stride(from: 0, to: documents.count, by: 2) {
      let isKept =
        documents[index] != documents[index + 1]
        && kept.contains { $0.hasSuffix(documents[index + 1].joined(separator: " ")) }
      let value = similarity(documents[index], documents[index + 1])
      if isKept { similarities.kept.append(value) } else { similarities.dropped.append(value) }
      #expect(kept.contains { $0.hasSuffix(documents[index].joined(separator: " ")) })
    }
    // At 0.95 a pair is missed once in forty thousand times; at 0.5 it is found once in a thousand.
    #expect(similarities.kept.max()! < 0.95 && similarities.dropped.min()! > 0.5)
    #expect(data.manifest.rowsDropped == ["near-duplicate": similarities.dropped.count])
    #expect(similarities.dropped.count > 50 && similarities.kept.count > 100)
  }
}
