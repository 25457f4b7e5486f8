import Foundation
import Storage
import StructuredOutput
import VectorMath

/// A token and how likely it is to be chosen.
package struct Candidate: Sendable, Equatable {
  package var token: Int32
  package var probability: Float
}

/// Chooses tokens, the same ones for the same seed, logits and history.
///
/// What the logits go through, in this order: logit bias, repetition penalty, presence and frequency penalty, the
/// constraint's mask, temperature, top-k, top-p, min-p. Where `transformers` has the same steps it has the same order.
package struct Sampler: Sendable {
  package let settings: SamplingSettings
  /// Tokens from here on are never chosen: the tokenizer does not have them.
  private let vocabularySize: Int
  private let topLogProbabilities: Int?
  private var constraint: (any TokenConstraint)?
  /// Tokens of the prompt and of the answer; kept only for a repetition penalty.
  private var seen: Set<Int32> = []
  /// How often each token is in the answer; kept only for a presence or frequency penalty.
  private var counts: [Int32: Int] = [:]
  private var generator: SplitMix64

  // Memory for the work of one token.
  private var scores: [Float] = []
  /// What can be chosen, in the order of ids, and the weights, of which the largest is 1.
  private var candidates: [Int32] = []
  private var weights: [Float] = []

  /// - Parameters:
  ///   - context: the tokens so far, which the repetition penalty counts as seen.
  ///   - topLogProbabilities: nil when no log-probabilities are wanted; else of how many tokens in addition to the chosen one.
  ///   - constraint: what the answer may be; nil for anything.
  package init(
    _ settings: SamplingSettings, vocabularySize: Int, context: some Sequence<Int32> = [],
    topLogProbabilities: Int? = nil, constraint: (any TokenConstraint)? = nil
  ) {
    precondition(
      settings.temperature >= 0 && settings.topK >= 0 && settings.topP >= 0 && settings.minP >= 0
        && settings.repetitionPenalty > 0 && settings.presencePenalty.isFinite && settings.frequencyPenalty.isFinite
        && settings.logitBias.values.allSatisfy(\.isFinite), "sampling with \(settings)")
    self.settings = settings
    self.vocabularySize = vocabularySize
    self.topLogProbabilities = topLogProbabilities
    self.constraint = constraint
    generator = SplitMix64(seed: settings.seed)
    if settings.repetitionPenalty != 1 { seen = Set(context) }
  }

  /// Chooses the next token, which from then on belongs to the answer.
  ///
  /// - Parameters:
  ///   - logits: [vocabulary].
  ///   - forbidden: tokens that are not chosen unless nothing else can be.
  package mutating func next(
    _ logits: Span<Float>, forbidden: Set<Int32> = []
  ) -> (token: Int32, logProbability: TokenLogProbability?) {
    accept(choose(logits, forbidden), logits)
  }

  /// Takes a token that is not chosen but given, as the next of the answer.
  ///
  /// - Parameter logits: [vocabulary].
  /// - Returns: nil, and takes none, where the constraint does not allow it.
  mutating func take(
    _ token: Int32, _ logits: Span<Float>
  ) -> (token: Int32, logProbability: TokenLogProbability?)? {
    guard constraint?.allowedTokens().contains(token) != false else { return nil }
    return accept(token, logits)
  }

  private mutating func accept(
    _ token: Int32, _ logits: Span<Float>
  ) -> (token: Int32, logProbability: TokenLogProbability?) {
    if settings.repetitionPenalty != 1 { seen.insert(token) }
    if settings.presencePenalty != 0 || settings.frequencyPenalty != 0 { counts[token, default: 0] += 1 }
    constraint?.accept(token)
    let logProbability = topLogProbabilities.map {
      TokenLogProbability(token, logits: logits, top: $0, vocabularySize: vocabularySize)
    }
    return (token, logProbability)
  }

  /// What `next` draws from, for tests: the tokens that can be chosen, most likely first (of equals the lower id first),
  /// with probabilities that add up to 1. The logits are [model's vocabularySize].
  package mutating func distribution(_ logits: Span<Float>) -> [Candidate] {
    if let certain = weigh(logits) { return [Candidate(token: certain, probability: 1)] }
    let sum = weights.reduce(0, +)
    return zip(candidates, weights).map { Candidate(token: $0, probability: $1 / sum) }
      .sorted { ($0.probability, $1.token) > ($1.probability, $0.token) }
  }

  private mutating func choose(_ logits: Span<Float>, _ forbidden: Set<Int32>) -> Int32 {
    if let certain = weigh(logits, forbidden) { return certain }
    var rest = generator.nextUniform() * weights.reduce(0) { $0 + Double($1) }
    for (index, weight) in weights.enumerated() {
      rest -= Double(weight)
      if rest < 0 { return candidates[index] }
    }
    return candidates[candidates.count - 1]
  }

  /// Leaves in `candidates` and `weights` what can be chosen.
  ///
  /// - Returns: the one token that can be chosen, and then leaves nothing; nil when there are several.
  private mutating func weigh(_ logits: Span<Float>, _ forbidden: Set<Int32> = []) -> Int32? {
    scores.removeAll(keepingCapacity: true)
    logits.withUnsafeBufferPointer { scores.append(contentsOf: $0.prefix(vocabularySize)) }
    adjust()
    let allowed = constraint?.allowedTokens()
    if let ending = constraint?.ending() { moveEndProbability(ending) }
    if let allowed { mask(allowed) }
    for token in forbidden where scores.indices.contains(Int(token)) { scores[Int(token)] = -.infinity }
    let maximum = largest(scores.span)
    // Logits that are not numbers leave nothing to choose from: any answer is right, a crash is not.
    guard maximum > -.infinity else { return allowed?.first ?? 0 }
    if settings.temperature == 0 || maximum == .infinity {
      return Int32(scores.firstIndex(of: maximum)!)
    }
    var least = -Float.greatestFiniteMagnitude
    if settings.topK > 0 && settings.topK < scores.count {
      least = max(least, largest(rank: settings.topK, of: scores.span))
    }
    keepScores(from: least)
    exponentials(&weights, minus: maximum, over: settings.temperature)
    var limit = settings.minP
    if settings.topP < 1 { limit = max(limit, threshold(weights.span, reaching: settings.topP)) }
    if limit > 0 { keepWeights(from: limit) }
    return candidates.count == 1 ? candidates[0] : nil
  }

  /// Gives the probability of the end tokens, where the text may not end yet, to the tokens with which it ends soonest,
  /// each in proportion to its own. Without this a model that wants to end chooses among tokens of which it thinks
  /// nothing, and writes on until the tokens run out.
  ///
  /// With E and C the sums of the weights exp(score / temperature) of the end tokens and the closing ones, the weight of
  /// a closing token becomes 1 + E / C times its own. The other tokens keep theirs.
  private mutating func moveEndProbability(_ ending: TextEnding) {
    let (end, closing) = (logarithmicSum(ending.endTokens), logarithmicSum(ending.closingTokens))
    let difference = end.score - closing.score
    guard end.score > -.infinity, !difference.isNaN else { return }
    let temperature = Double(settings.temperature)
    if closing.score == -.infinity {
      let score = Float(end.score - temperature * log(Double(closing.count)))
      return ending.closingTokens.forEach { scores[Int($0)] = score }
    }
    // log(1 + exp(difference / temperature)) temperature, without an overflow.
    let rest = temperature > 0 ? temperature * log1p(exp(-abs(difference) / temperature)) : 0
    let gain = Float(max(0, difference) + rest)
    ending.closingTokens.forEach { scores[Int($0)] += gain }
  }

  /// temperature · log Σ exp(score / temperature), the largest score at temperature 0; and the number of tokens.
  private func logarithmicSum(_ tokens: TokenSet) -> (score: Double, count: Int) {
    var (largest, sum, count) = (-Double.infinity, 0.0, 0)
    tokens.forEach { token in
      largest = max(largest, Double(scores[Int(token)]))
      count += 1
    }
    guard settings.temperature > 0, largest.isFinite else { return (largest, count) }
    let temperature = Double(settings.temperature)
    tokens.forEach { sum += exp((Double(scores[Int($0)]) - largest) / temperature) }
    return (largest + temperature * log(sum), count)
  }

  private mutating func mask(_ allowed: TokenSet) {
    for (index, word) in allowed.words.enumerated() where word != .max {
      let tokens = min(64 * index, scores.count)..<min(64 * index + 64, scores.count)
      for token in tokens where word >> UInt64(token & 63) & 1 == 0 { scores[token] = -.infinity }
    }
  }

  /// Bias and penalties.
  private mutating func adjust() {
    for (token, bias) in settings.logitBias where scores.indices.contains(Int(token)) { scores[Int(token)] += bias }
    for token in seen where Int(token) < scores.count {
      let score = scores[Int(token)]
      scores[Int(token)] = score < 0 ? score * settings.repetitionPenalty : score / settings.repetitionPenalty
    }
    for (token, count) in counts {
      scores[Int(token)] -= settings.presencePenalty + settings.frequencyPenalty * Float(count)
    }
  }

  private mutating func keepScores(from least: Float) {
    candidates.removeAll(keepingCapacity: true)
    weights.removeAll(keepingCapacity: true)
    for (token, score) in scores.enumerated() where score >= least {
      candidates.append(Int32(token))
      weights.append(score)
    }
  }

  /// Drops candidates of less weight. The most likely one has weight 1 and stays.
  private mutating func keepWeights(from least: Float) {
    var kept = 0
    for index in weights.indices where weights[index] >= min(1, least) {
      candidates[kept] = candidates[index]
      weights[kept] = weights[index]
      kept += 1
    }
    candidates.removeLast(candidates.count - kept)
    weights.removeLast(weights.count - kept)
  }
}
