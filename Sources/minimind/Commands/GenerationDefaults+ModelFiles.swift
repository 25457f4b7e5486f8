import Generation
import ModelFiles

extension GenerationDefaults {
  /// What a model's `generation_config.json` says, or MiniMind's way where it says nothing of sampling.
  ///
  /// A file that says how to sample is read as `transformers` reads it: what it leaves out is `transformers`' default.
  /// One difference: without `do_sample` it samples, where `transformers` decodes greedily and warns.
  package init(_ file: GenerationConfiguration) {
    self.init()
    maximumTokens = file.maximumTokens
    guard file.describesSampling else { return }
    let temperature = file.temperature ?? GenerationConfiguration.transformersTemperature
    sampling.temperature = file.samples == false ? 0 : Float(temperature)
    sampling.topK = file.topK ?? GenerationConfiguration.transformersTopK
    sampling.topP = Float(file.topP ?? 1)
    sampling.minP = Float(file.minP ?? 0)
    sampling.repetitionPenalty = Float(file.repetitionPenalty ?? 1)
  }
}
