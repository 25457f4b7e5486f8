import Foundation
import Storage

/// How the next token is chosen from the logits.
package struct SamplingSettings: Sendable, Equatable {
  /// Divides the logits: below 1 the likely tokens gain, above 1 the unlikely. 0 takes the most likely token always.
  package var temperature: Float = 0.7
  /// Only so many of the most likely tokens remain; 0 for all.
  package var topK = 8
  /// Only the most likely tokens remain whose probabilities first add up to this; 1 for all, 0 for the
  /// most likely one.
  package var topP: Float = 1
  /// Only tokens remain that have at least this share of the most likely one's probability; 0 for all.
  package var minP: Float = 0
  /// Divides the positive logits, and multiplies the negative ones, of tokens that are in the text; 1 for none.
  package var repetitionPenalty: Float = 1
  package var seed: UInt64 = 42

  package init() {}
}

/// A token and how likely it is to be chosen.
package struct Candidate: Sendable, Equatable {
  package var token: Int32
  package var probability: Float
}

/// Chooses tokens, the same ones for the same seed, logits and history.
///
/// The order is that of Hugging Face's `transformers`: repetition penalty, temperature, top-k, top-p, min-p.
package struct Sampler: Sendable {
  package let settings: SamplingSettings
  /// Tokens from here on are never chosen: the tokenizer does not have them.
  private let vocabularySize: Int
  private var seen: Set<Int32> = []
  private var generator: SplitMix64

  /// - Parameter context: the tokens so far, which the repetition penalty counts as seen.
  package init(_ settings: SamplingSettings, vocabularySize: Int, context: some Sequence<Int32> = []) {
    precondition(
      settings.temperature >= 0 && settings.topK >= 0 && settings.topP >= 0 && settings.minP >= 0
        && settings.repetitionPenalty > 0, "sampling with \(settings)")
    self.settings = settings
    self.vocabularySize = vocabularySize
    generator = SplitMix64(seed: settings.seed)
    if settings.repetitionPenalty != 1 { seen = Set(context) }
  }

  /// Chooses the next token, which from then on counts as seen.
  ///
  /// - Parameter logits: [vocabulary].
  package mutating func next(_ logits: [Float]) -> Int32 {
    let candidates = distribution(logits)
    var token = candidates[0].token
    if candidates.count > 1 {
      var rest = generator.nextUniform()
      token = candidates[candidates.count - 1].token
      for candidate in candidates {
        rest -= Double(candidate.probability)
        if rest < 0 {
          token = candidate.token
          break
        }
      }
    }
    if settings.repetitionPenalty != 1 { seen.insert(token) }
    return token
  }

  /// The tokens that can be chosen, most likely first (of equals the lower id first); the probabilities add up to 1.
  package func distribution(_ logits: [Float]) -> [Candidate] {
    var logits = logits
    if logits.count > vocabularySize { logits.removeLast(logits.count - vocabularySize) }
    for token in seen where Int(token) < logits.count {
      let logit = logits[Int(token)]
      logits[Int(token)] = logit < 0 ? logit * settings.repetitionPenalty : logit / settings.repetitionPenalty
    }
    if settings.temperature == 0 {
      return [Candidate(token: Int32(mostLikely(logits)), probability: 1)]
    }
    var candidates = topCandidates(logits)
    // Until here `probability` holds a logit.
    let largest = candidates[0].probability
    for index in candidates.indices {
      candidates[index].probability = exp((candidates[index].probability - largest) / settings.temperature)
    }
    if settings.topP < 1 { keepTopP(&candidates) }
    if settings.minP > 0 {
      // The most likely token has weight 1 here.
      let end = candidates.firstIndex { $0.probability < settings.minP } ?? candidates.count
      candidates.removeLast(candidates.count - max(1, end))
    }
    let sum = candidates.reduce(0) { $0 + $1.probability }
    for index in candidates.indices { candidates[index].probability /= sum }
    return candidates
  }

  private func mostLikely(_ logits: [Float]) -> Int {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] { best = index }
    return best
  }

  /// The `topK` largest logits, and all that equal the last of them, in falling order.
  private func topCandidates(_ logits: [Float]) -> [Candidate] {
    var threshold = -Float.infinity
    if settings.topK > 0 && settings.topK < logits.count {
      // A short list in rising order: nearly all tokens fail against its first.
      var largest = [Float](repeating: -.infinity, count: settings.topK)
      for logit in logits where logit > largest[0] {
        var place = 0
        while place + 1 < largest.count && largest[place + 1] < logit {
          largest[place] = largest[place + 1]
          place += 1
        }
        largest[place] = logit
      }
      threshold = largest[0]
    }
    var candidates: [Candidate] = []
    for (token, logit) in logits.enumerated() where logit >= threshold {
      candidates.append(Candidate(token: Int32(token), probability: logit))
    }
    // Logits that are no numbers leave nothing to choose from; any answer will do, a crash will not.
    if candidates.isEmpty { return [Candidate(token: 0, probability: 0)] }
    candidates.sort { $0.probability > $1.probability || ($0.probability == $1.probability && $0.token < $1.token) }
    return candidates
  }

  /// Drops the least likely candidates as long as the others have `topP` of the weight.
  private func keepTopP(_ candidates: inout [Candidate]) {
    let limit = settings.topP * candidates.reduce(0) { $0 + $1.probability }
    var sum: Float = 0
    let last = candidates.firstIndex { candidate in
      sum += candidate.probability
      return sum >= limit
    }
    if let last { candidates.removeLast(candidates.count - 1 - last) }
  }
}
