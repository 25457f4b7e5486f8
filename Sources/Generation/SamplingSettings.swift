import Model

/// How the next token is chosen from the logits.
package struct SamplingSettings: Sendable, Equatable {
  /// Divides the logits: below 1 the likely tokens gain, above 1 the unlikely. 0 takes the most likely token always.
  package var temperature = Float(SamplingDefaults.temperature)
  /// The number of most likely tokens that remain; 0 for all.
  package var topK = SamplingDefaults.topK
  /// Only the most likely tokens remain whose probabilities first add up to this; 1 for all, 0 for the
  /// most likely one.
  package var topP = Float(SamplingDefaults.topP)
  /// Only tokens remain that have at least this share of the most likely one's probability; 0 for all.
  package var minP = Float(SamplingDefaults.minP)
  /// Divides the positive logits, and multiplies the negative ones, of tokens that are in the prompt or the answer; 1
  /// for none.
  package var repetitionPenalty = Float(SamplingDefaults.repetitionPenalty)
  /// Subtracted from the logit of every token that is in the answer so far; the prompt does not count. 0 for none.
  package var presencePenalty = Float(SamplingDefaults.presencePenalty)
  /// Subtracted from the logit of every token as often as it is in the answer so far; the prompt does not count. 0 for
  /// none.
  package var frequencyPenalty = Float(SamplingDefaults.frequencyPenalty)
  /// Added to the logits of these tokens, before all else.
  package var logitBias: [Int32: Float] = [:]
  package var seed: UInt64 = 42

  package init() {}
}
