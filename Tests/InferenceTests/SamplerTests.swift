import Foundation
import Inference
import TestSupport
import Testing

@Suite struct SamplerTests {
  /// Sums and exponentials of a few numbers in fp32.
  static let tolerance: Float = 1e-6

  static func settings(
    temperature: Float = 1, topK: Int = 0, topP: Float = 1, minP: Float = 0, repetitionPenalty: Float = 1,
    seed: UInt64 = 1
  ) -> SamplingSettings {
    var settings = SamplingSettings()
    settings.temperature = temperature
    settings.topK = topK
    settings.topP = topP
    settings.minP = minP
    settings.repetitionPenalty = repetitionPenalty
    settings.seed = seed
    return settings
  }

  /// Logits whose softmax is exactly these probabilities.
  static func logits(_ probabilities: [Float]) -> [Float] { probabilities.map { log($0) } }

  static func distribution(
    _ logits: [Float], _ settings: SamplingSettings, context: [Int32] = []
  ) -> [Int32: Float] {
    let candidates = Sampler(settings, vocabularySize: logits.count, context: context).distribution(logits)
    return Dictionary(uniqueKeysWithValues: candidates.map { ($0.token, $0.probability) })
  }

  static func expect(
    _ found: [Int32: Float], _ expected: [Int32: Float], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(Set(found.keys) == Set(expected.keys), sourceLocation: sourceLocation)
    for (token, probability) in expected {
      #expect(abs((found[token] ?? 0) - probability) < tolerance, "token \(token)", sourceLocation: sourceLocation)
    }
  }

  static let example = logits([0.1, 0.4, 0.05, 0.3, 0.15])

  @Test("without filters the distribution is the softmax")
  func plain() {
    Self.expect(
      Self.distribution(Self.example, Self.settings()), [0: 0.1, 1: 0.4, 2: 0.05, 3: 0.3, 4: 0.15])
  }

  @Test("the temperature divides the logits")
  func temperature() {
    // At ½ the probabilities are squared.
    let sum: Float = 0.01 + 0.16 + 0.0025 + 0.09 + 0.0225
    Self.expect(
      Self.distribution(Self.example, Self.settings(temperature: 0.5)),
      [0: 0.01 / sum, 1: 0.16 / sum, 2: 0.0025 / sum, 3: 0.09 / sum, 4: 0.0225 / sum])
  }

  @Test("temperature 0 takes the most likely token, of equals the first")
  func greedy() {
    Self.expect(Self.distribution(Self.example, Self.settings(temperature: 0)), [1: 1])
    Self.expect(Self.distribution([1, 3, 3, 2], Self.settings(temperature: 0)), [1: 1])
  }

  @Test("top-k keeps the k most likely and what equals the last of them")
  func topK() {
    Self.expect(Self.distribution(Self.example, Self.settings(topK: 2)), [1: 0.4 / 0.7, 3: 0.3 / 0.7])
    Self.expect(
      Self.distribution(Self.logits([0.2, 0.4, 0.2, 0.2]), Self.settings(topK: 2)), [0: 0.2, 1: 0.4, 2: 0.2, 3: 0.2])
    Self.expect(Self.distribution(Self.example, Self.settings(topK: 1)), [1: 1])
    #expect(Self.distribution(Self.example, Self.settings(topK: 9)).count == 5)
  }

  @Test("top-p keeps the most likely that first have p together")
  func topP() {
    Self.expect(Self.distribution(Self.example, Self.settings(topP: 0.39)), [1: 1])
    Self.expect(Self.distribution(Self.example, Self.settings(topP: 0.41)), [1: 0.4 / 0.7, 3: 0.3 / 0.7])
    Self.expect(
      Self.distribution(Self.example, Self.settings(topP: 0.84)), [1: 0.4 / 0.85, 3: 0.3 / 0.85, 4: 0.15 / 0.85])
    Self.expect(Self.distribution(Self.example, Self.settings(topP: 0)), [1: 1])
  }

  @Test("min-p drops what is below a share of the most likely")
  func minP() {
    Self.expect(
      Self.distribution(Self.example, Self.settings(minP: 0.3)), [1: 0.4 / 0.85, 3: 0.3 / 0.85, 4: 0.15 / 0.85])
    Self.expect(Self.distribution(Self.example, Self.settings(minP: 1)), [1: 1])
  }

  @Test("filters follow each other: top-p counts what top-k left, at the given temperature")
  func order() {
    // Squared and cut to three: 0.16, 0.09, 0.0225 of 0.2725; the first has 0.587, the first two 0.917.
    Self.expect(
      Self.distribution(Self.example, Self.settings(temperature: 0.5, topK: 3, topP: 0.9)),
      [1: 0.16 / 0.25, 3: 0.09 / 0.25])
  }

  @Test("the repetition penalty divides positive logits of seen tokens and multiplies negative ones")
  func repetition() {
    let found = Self.distribution([2, -1, 1, 0], Self.settings(repetitionPenalty: 2), context: [0, 1, 3, 0])
    let weights: [Float] = [exp(1), exp(-2), exp(1), 1]
    let sum = weights.reduce(0, +)
    Self.expect(found, [0: weights[0] / sum, 1: weights[1] / sum, 2: weights[2] / sum, 3: weights[3] / sum])

    var sampler = Sampler(Self.settings(temperature: 0, repetitionPenalty: 3), vocabularySize: 3)
    #expect((0..<3).map { _ in sampler.next([3, 2, 1.5]) } == [0, 1, 2])
  }

  @Test("tokens that the tokenizer does not have are never chosen")
  func vocabulary() {
    let candidates = Sampler(Self.settings(), vocabularySize: 2).distribution([1, 1, 9])
    #expect(candidates.map(\.token) == [0, 1])
  }

  @Test("probabilities of random logits add up to 1 under any settings", arguments: 0..<50)
  func sums(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let logits = (0..<1000).map { _ in Float.random(in: -30...30, using: &random) }
    let settings = Self.settings(
      temperature: Float.random(in: 0.05...3, using: &random), topK: Int.random(in: 0...100, using: &random),
      topP: Float.random(in: 0...1, using: &random), minP: Float.random(in: 0...0.2, using: &random),
      repetitionPenalty: Float.random(in: 0.5...2, using: &random))
    let candidates = Sampler(settings, vocabularySize: 1000, context: [5, 7]).distribution(logits)
    #expect(abs(candidates.reduce(0) { $0 + $1.probability } - 1) < 1e-5)
    #expect(candidates.allSatisfy { $0.probability >= 0 })
    #expect(zip(candidates, candidates.dropFirst()).allSatisfy { $0.probability >= $1.probability })
  }

  @Test("draws follow the distribution, and repeat with the seed")
  func draws() {
    var sampler = Sampler(Self.settings(seed: 5), vocabularySize: 5)
    var again = Sampler(Self.settings(seed: 5), vocabularySize: 5)
    var other = Sampler(Self.settings(seed: 6), vocabularySize: 5)
    var counts = [Int](repeating: 0, count: 5)
    var differs = false
    for _ in 0..<20_000 {
      let token = sampler.next(Self.example)
      counts[Int(token)] += 1
      #expect(again.next(Self.example) == token)
      differs = differs || other.next(Self.example) != token
    }
    #expect(differs)
    for (count, logit) in zip(counts, Self.example) {
      // Five standard deviations of a binomial distribution.
      let p = Double(exp(logit))
      #expect(abs(Double(count) - 20_000 * p) < 5 * (20_000 * p * (1 - p)).squareRoot())
    }
  }

  @Test("logits that are no numbers give some token, not a crash", arguments: [Float.nan, .infinity, -.infinity])
  func notNumbers(value: Float) {
    for settings in [Self.settings(), Self.settings(temperature: 0), Self.settings(topK: 3, topP: 0.5, minP: 0.1)] {
      var sampler = Sampler(settings, vocabularySize: 9)
      let token = sampler.next([Float](repeating: value, count: 9))
      #expect(token >= 0 && token < 9)
    }
  }
}
