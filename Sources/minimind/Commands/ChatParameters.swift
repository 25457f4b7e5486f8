import Generation
import Storage

/// What `/params` shows and sets: the options of sampling, by their names and within their limits.
struct ChatParameters {
  var sampling: SamplingSettings
  var maximumTokens: Int?
  var thinkingTokens: Int?

  private struct Parameter {
    let name: String
    let show: (ChatParameters) -> String
    let set: (inout ChatParameters, String) throws -> Void
  }

  private static func number(
    _ option: Option<Double>, _ property: WritableKeyPath<SamplingSettings, Float>
  ) -> Parameter {
    Parameter(
      name: option.name, show: { formatNumber(Double("\($0.sampling[keyPath: property])")!) },
      set: { $0.sampling[keyPath: property] = Float(try option.parse([$1])) })
  }

  private static func limit(
    _ option: Option<Int?>, _ property: WritableKeyPath<ChatParameters, Int?>
  ) -> Parameter {
    Parameter(
      name: option.name, show: { $0[keyPath: property].map { String($0) } ?? "none" },
      set: { $0[keyPath: property] = $1 == "none" ? nil : try option.parse([$1]) })
  }

  private static var all: [Parameter] {
    [
      number(GenerateOptions.temperature, \.temperature),
      Parameter(
        name: GenerateOptions.topK.name, show: { String($0.sampling.topK) },
        set: { $0.sampling.topK = try GenerateOptions.topK.parse([$1]) }),
      number(GenerateOptions.topP, \.topP), number(GenerateOptions.minP, \.minP),
      number(GenerateOptions.repetitionPenalty, \.repetitionPenalty),
      number(GenerateOptions.presencePenalty, \.presencePenalty),
      number(GenerateOptions.frequencyPenalty, \.frequencyPenalty),
      limit(GenerateOptions.maximumTokens, \.maximumTokens), limit(GenerateOptions.thinkingTokens, \.thinkingTokens),
      Parameter(
        name: Option.seed.name, show: { String($0.sampling.seed) },
        set: { $0.sampling.seed = UInt64(try Option.seed.parse([$1])) }),
    ]
  }

  /// All names with their values, one a line.
  var text: String { renderPairs(Self.all.map { (name: $0.name, value: $0.show(self)) }) }

  /// Sets what `words` say, as name and value by turns: `["temperature", "0.5", "top-k", "20"]`.
  ///
  /// - Throws: `UsageError`; then nothing is changed.
  mutating func set(_ words: [Substring]) throws {
    guard words.count.isMultiple(of: 2) else {
      throw UsageError("/params needs a value after each name: /params temperature 0.5")
    }
    var changed = self
    for index in stride(from: 0, to: words.count, by: 2) {
      let name = String(words[index])
      guard let parameter = Self.all.first(where: { $0.name == name }) else {
        let near = nearestName(to: name, among: Self.all.map(\.name)).map { " Did you mean \($0)?" } ?? ""
        throw UsageError("there is no parameter \(name).\(near)")
      }
      try parameter.set(&changed, String(words[index + 1]))
    }
    self = changed
  }
}
