extension ModelConfiguration {
  /// The longest context that the model is made for and is read as it means it.
  public var contextLength: Int { min(maximumSequenceLength, slidingWindow ?? .max) }

  /// The setting of `config.json` that decides `contextLength`.
  package var contextSetting: String {
    contextLength < maximumSequenceLength ? "sliding_window" : "max_position_embeddings"
  }

  /// Refuses a context in which a token would be out of another's sight.
  package func checkContext(_ tokens: Int) throws(ConfigurationError) {
    if let slidingWindow, tokens > slidingWindow { throw .beyondWindow(tokens: tokens, window: slidingWindow) }
  }
}
