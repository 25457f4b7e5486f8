import Foundation
import Generation
import StructuredOutput
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
    var sampler = Sampler(settings, vocabularySize: logits.count, context: context)
    let candidates = sampler.distribution(logits.span)
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
    let logits: [Float] = [3, 2, 1.5]
    #expect((0..<3).map { _ in sampler.next(logits.span).token } == [0, 1, 2])
  }

  @Test("tokens that the tokenizer does not have are never chosen")
  func vocabulary() {
    var sampler = Sampler(Self.settings(), vocabularySize: 2)
    let logits: [Float] = [1, 1, 9]
    let candidates = sampler.distribution(logits.span)
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
    var sampler = Sampler(settings, vocabularySize: 1000, context: [5, 7])
    let candidates = sampler.distribution(logits.span)
    #expect(abs(candidates.reduce(0) { $0 + $1.probability } - 1) < 1e-5)
    #expect(candidates.allSatisfy { $0.probability >= 0 })
    #expect(zip(candidates, candidates.dropFirst()).allSatisfy { $0.probability >= $1.probability })
  }

  @Test("equal tokens at the edge of top-p stay together")
  func topPTies() {
    Self.expect(
      Self.distribution(Self.logits([0.2, 0.4, 0.2, 0.2]), Self.settings(topP: 0.5)), [0: 0.2, 1: 0.4, 2: 0.2, 3: 0.2])
  }

  @Test("a bias is added before penalties, and tokens outside the vocabulary are passed over")
  func bias() {
    var settings = Self.settings(repetitionPenalty: 2)
    settings.logitBias = [0: 3, 2: -100, 99: 5, -1: 5]
    let weights: [Int32: Float] = [0: exp((-1 + 3) / 2), 1: exp(1), 2: 0]
    let sum = weights.values.reduce(0, +)
    Self.expect(
      Self.distribution([-1, 1, 2], settings, context: [0]), weights.mapValues { $0 / sum })
  }

  @Test("presence and frequency penalties count the answer's tokens and not the prompt's")
  func countedPenalties() {
    var random = SeededGenerator(seed: 3)
    var settings = Self.settings(temperature: 0.8, repetitionPenalty: 1.3, seed: 8)
    settings.presencePenalty = 0.7
    settings.frequencyPenalty = 0.4
    let prompt: [Int32] = [2, 2, 5]
    var answer: [Int32] = []
    var sampler = Sampler(settings, vocabularySize: 12, context: prompt)
    for _ in 0..<60 {
      let logits = (0..<12).map { _ in Float.random(in: -3...3, using: &random) }
      let scores = logits.enumerated().map { token, logit in
        let count = answer.count { $0 == token }
        let isSeen = count > 0 || prompt.contains(Int32(token))
        let penalised = isSeen ? (logit > 0 ? logit / 1.3 : logit * 1.3) : logit
        return exp((penalised - (count > 0 ? 0.7 : 0) - 0.4 * Float(count)) / 0.8)
      }
      let sum = scores.reduce(0, +)
      let found = Dictionary(
        uniqueKeysWithValues: sampler.distribution(logits.span).map { ($0.token, $0.probability) })
      Self.expect(found, Dictionary(uniqueKeysWithValues: scores.enumerated().map { (Int32($0), $1 / sum) }))
      answer.append(sampler.next(logits.span).token)
    }
  }

  @Test("log-probabilities are those of the model's own distribution, whatever the settings")
  func logProbabilities() {
    var settings = Self.settings(temperature: 0.1, topK: 1)
    settings.logitBias = [2: 50]
    var sampler = Sampler(settings, vocabularySize: 4, topLogProbabilities: 3)
    let (token, found) = sampler.next(Self.example.span)
    #expect(token == 2)
    let expected: [(Int32, Float)] = [(1, 0.4), (3, 0.3), (0, 0.1)]
    #expect(found?.token == 2 && abs((found?.logProbability ?? 0) - log(0.05)) < Self.tolerance * 10)
    #expect(found?.top.map(\.token) == expected.map(\.0))
    for (entry, (_, probability)) in zip(found?.top ?? [], expected) {
      #expect(abs(entry.logProbability - log(probability)) < Self.tolerance * 10)
    }
    var silent = Sampler(Self.settings(), vocabularySize: 5)
    #expect(silent.next(Self.example.span).logProbability == nil)
    var alone = Sampler(Self.settings(), vocabularySize: 5, topLogProbabilities: 0)
    #expect(alone.next(Self.example.span).logProbability?.top == [])
  }

  /// Allows multiples of three, or of two behind an odd token.
  struct Multiples: TokenConstraint {
    var accepted: [Int32] = []
    func allowedTokens() -> TokenSet {
      var set = TokenSet(vocabularySize: 70)
      let step = accepted.last.map { $0 % 2 == 1 } == true ? 2 : 3
      for token in stride(from: 0, to: 70, by: step) { set.insert(Int32(token)) }
      return set
    }
    mutating func accept(_ token: Int32) { accepted.append(token) }
  }

  @Test("a constraint comes before everything else", arguments: [Float(0), 1])
  func constraint(temperature: Float) {
    var random = SeededGenerator(seed: 9)
    var settings = Self.settings(temperature: temperature, topK: 4, topP: 0.9)
    settings.logitBias = [1: 100, 7: 100]
    var sampler = Sampler(settings, vocabularySize: 70, constraint: Multiples())
    var last: Int32 = 0
    for _ in 0..<200 {
      let logits = (0..<80).map { _ in Float.random(in: -3...3, using: &random) }
      let token = sampler.next(logits.span).token
      #expect(token < 70 && token % (last % 2 == 1 ? 2 : 3) == 0)
      last = token
    }
    let nothing = [Float](repeating: .nan, count: 80)
    #expect(sampler.next(nothing.span).token == 0)
  }

  /// Allows tokens 0, 1 and 3; token 4 ends, and 0 and 1 are on the way to a valid end.
  struct Ending: TokenConstraint {
    static func set(_ tokens: [Int32]) -> TokenSet {
      tokens.reduce(into: TokenSet(vocabularySize: 5)) { $0.insert($1) }
    }
    func allowedTokens() -> TokenSet { Self.set([0, 1, 3]) }
    func ending() -> TextEnding? { TextEnding(endTokens: Self.set([4]), closingTokens: Self.set([0, 1])) }
    mutating func accept(_ token: Int32) {}
  }

  static func ending(_ logits: [Float], _ settings: SamplingSettings) -> [Int32: Float] {
    var sampler = Sampler(settings, vocabularySize: 5, constraint: Ending())
    return Dictionary(uniqueKeysWithValues: sampler.distribution(logits.span).map { ($0.token, $0.probability) })
  }

  @Test("where a text may not end, the probability of its end goes to the tokens on the way there")
  func endings() {
    let logits = Self.logits([0.1, 0.2, 0.05, 0.25, 0.4])
    // Of 0.95 that is allowed or an end, 0.3 and the end's 0.4 are the closing tokens', one part in three the first's.
    let (first, second, other): (Float, Float, Float) = (0.7 / 3, 1.4 / 3, 0.25)
    Self.expect(
      Self.ending(logits, Self.settings()), [0: first / 0.95, 1: second / 0.95, 3: other / 0.95])
    // At ½ the probabilities are squared: 0.05 and 0.16 of closing tokens and end, one part in five the first's.
    let sum: Float = 0.21 + 0.0625
    Self.expect(
      Self.ending(logits, Self.settings(temperature: 0.5)),
      [0: 0.21 / 5 / sum, 1: 0.21 * 4 / 5 / sum, 3: 0.0625 / sum])
    // Before top-k and top-p: else the third would have been the most likely.
    Self.expect(Self.ending(logits, Self.settings(topK: 1)), [1: 1])
    Self.expect(
      Self.ending(logits, Self.settings(topP: 0.6)), [1: second / (second + other), 3: other / (second + other)])
    // At 0 only if the model would have ended.
    Self.expect(Self.ending(logits, Self.settings(temperature: 0)), [1: 1])
    Self.expect(Self.ending([3, 2, 9, 4, 3.5], Self.settings(temperature: 0)), [3: 1])
    Self.expect(Self.ending([1, 2, 9, 3.4, 3.5], Self.settings(temperature: 0)), [1: 1])
  }

  @Test("an end that is certain, impossible or no number, and ways there that are impossible")
  func oddEndings() {
    let most = -Float.greatestFiniteMagnitude
    Self.expect(Self.ending([1, 1, 5, 5, 1000], Self.settings()), [0: 0.5, 1: 0.5, 3: 0])
    Self.expect(Self.ending([-.infinity, 1, 5, 1, 30], Self.settings()), [1: 1, 3: 0])
    Self.expect(Self.ending([-.infinity, -.infinity, 5, 30, 30], Self.settings()), [0: 0.25, 1: 0.25, 3: 0.5])
    Self.expect(Self.ending([2, 2, 5, 2, -.infinity], Self.settings()), [0: 1 / 3, 1: 1 / 3, 3: 1 / 3])
    Self.expect(Self.ending([2, 2, 5, 2, .nan], Self.settings()), [0: 1 / 3, 1: 1 / 3, 3: 1 / 3])
    #expect(Self.ending([2, 2, 5, 2, .infinity], Self.settings())[3] == nil)
    #expect(Self.ending([most, most, 5, most, -most], Self.settings(temperature: 0.1))[3] ?? 0 == 0)
    var settings = Self.settings(repetitionPenalty: 1.5)
    settings.logitBias = [4: -100]
    let found = Self.ending([2, 1, 5, 2, 3], settings)
    #expect(abs((found[0] ?? 0) - (found[3] ?? 1)) < Self.tolerance, "a bias counts before")
  }

  @Test(
    "draws follow the distribution (chi-squared), and repeat with the seed", arguments: 1...5 as ClosedRange<UInt64>)
  func draws(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let logits = (0..<60).map { _ in Float.random(in: -2...2, using: &random) }
    let settings = Self.settings(temperature: 0.9, topK: 40, topP: 0.95, seed: seed)
    var sampler = Sampler(settings, vocabularySize: 60)
    var again = Sampler(settings, vocabularySize: 60)
    var other = Sampler(Self.settings(temperature: 0.9, topK: 40, topP: 0.95, seed: seed + 100), vocabularySize: 60)
    let expected = sampler.distribution(logits.span)
    var counts: [Int32: Int] = [:]
    var differs = false
    let draws = 50_000
    for _ in 0..<draws {
      let token = sampler.next(logits.span).token
      counts[token, default: 0] += 1
      #expect(again.next(logits.span).token == token)
      differs = differs || other.next(logits.span).token != token
    }
    #expect(differs)
    #expect(Set(counts.keys) == Set(expected.map(\.token)))
    let statistic = expected.reduce(0.0) { sum, candidate in
      let mean = Double(candidate.probability) * Double(draws)
      let difference = Double(counts[candidate.token] ?? 0) - mean
      return sum + difference * difference / mean
    }
    // Mean n - 1, standard deviation √(2(n - 1)): beyond four of these one run in some ten thousand would come.
    let freedom = Double(expected.count - 1)
    #expect(statistic < freedom + 4 * (2 * freedom).squareRoot(), "chi-squared \(statistic) of \(freedom)")
  }

  @Test("logits that are no numbers give some token, not a crash", arguments: [Float.nan, .infinity, -.infinity])
  func notNumbers(value: Float) {
    for settings in [Self.settings(), Self.settings(temperature: 0), Self.settings(topK: 3, topP: 0.5, minP: 0.1)] {
      var sampler = Sampler(settings, vocabularySize: 9)
      let logits = [Float](repeating: value, count: 9)
      let token = sampler.next(logits.span).token
      #expect(token >= 0 && token < 9)
    }
  }
}
