extension ModelConfiguration {
  /// The model's rotary embedding.
  ///
  /// - Parameter scaling: another than the model's own.
  package func rotarySettings(scaling: RotaryScaling? = nil) -> RotarySettings {
    RotarySettings(
      headSize: headSize, theta: ropeTheta, trainedLength: maximumSequenceLength, scaling: scaling ?? rotaryScaling)
  }

  func validateRotaryScaling(source: String) throws(ConfigurationError) {
    func check(_ name: String, _ value: Double, from least: Double) throws(ConfigurationError) {
      guard value.isFinite, value >= least else {
        throw .invalid(source: source, fault: "\(name) is \(value), a number of at least \(least) is needed")
      }
    }
    switch rotaryScaling {
    case .none: break
    case .linear(let factor), .dynamic(let factor): try check("the rotary scaling's factor", factor, from: 1)
    case .llama3(let llama3):
      try check("the rotary scaling's factor", llama3.factor, from: 1)
      try check("original_max_position_embeddings", Double(llama3.originalLength), from: 1)
      try check("low_freq_factor", llama3.slowTurns, from: 1e-6)
      guard llama3.fastTurns.isFinite, llama3.fastTurns > llama3.slowTurns else {
        throw .invalid(
          source: source,
          fault: "high_freq_factor is \(llama3.fastTurns), more than low_freq_factor, \(llama3.slowTurns), is needed")
      }
    case .yarn(let yarn):
      try check("the rotary scaling's factor", yarn.factor, from: 1)
      try check("rope_theta with yarn", ropeTheta, from: 1.000_001)
      try check("original_max_position_embeddings", Double(yarn.originalLength), from: 1)
      try check("beta_fast", yarn.fastTurns, from: 1e-6)
      try check("beta_slow", yarn.slowTurns, from: 1e-6)
      try check("attention_factor", yarn.attentionFactor, from: 0)
    }
  }
}
