extension GenerationConfiguration {
  /// Reads `general.sampling.*` of a GGUF file; without them, nothing is said. The tokens that end a text are part of its
  /// tokenizer.
  ///
  /// - Throws: `ModelFileError` or `ConfigurationError`, naming the file and the key.
  init(gguf metadata: GGUFMetadata) throws {
    self.init()
    let prefix = "general.sampling."
    func number(_ name: String, in range: ClosedRange<Double>) throws -> Double? {
      let key = prefix + name
      guard metadata[key] != nil else { return nil }
      let number = try metadata.number(key)
      guard range.contains(number) else {
        throw ModelFileError.malformed(
          path: metadata.path,
          fault: "'\(key)' is \(number), and \(range.lowerBound) to \(range.upperBound) is possible")
      }
      return number
    }
    temperature = try number("temp", in: 0...100)
    topK = try number("top_k", in: 0...1e9).map { Int($0) }
    topP = try number("top_p", in: 0...1)
    minP = try number("min_p", in: 0...1)
    repetitionPenalty = try number("penalty_repeat", in: 0.1...10)
    let used = ["temp", "top_k", "top_p", "min_p", "penalty_repeat"].map { prefix + $0 }
    unusedKeys = metadata.keys.filter { $0.hasPrefix(prefix) && !used.contains($0) }
  }
}
