/// How an answer is sampled unless a request or an option says otherwise: MiniMind's own values, which also go into the
/// files that tell other programs (`generation_config.json`, ollama's Modelfile).
package enum SamplingDefaults {
  package static let temperature = 0.7
  package static let topK = 8
  /// These leave the distribution as it is.
  package static let topP = 1.0
  package static let minP = 0.0
  package static let repetitionPenalty = 1.0
  package static let presencePenalty = 0.0
  package static let frequencyPenalty = 0.0
}
