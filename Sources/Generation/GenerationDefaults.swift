/// How a model writes where a request or an option does not say.
package struct GenerationDefaults: Sendable, Equatable {
  package var sampling = SamplingSettings()
  /// The most tokens of an answer; nil for no limit except the context.
  package var maximumTokens: Int?

  package init() {}
}
