import Foundation
import Model
import ModelFiles
import Testing

@Suite("The table of models")
struct ModelTableTests {
  /// A small model of each architecture, in the order of the table.
  static let examples: [(name: String, configuration: ModelConfiguration)] = Architecture.allCases.map { architecture in
    var shape = ModelConfiguration(
      hiddenSize: 16, layerCount: 1, headCount: 2, keyValueHeadCount: 1, vocabularySize: 40)
    switch architecture {
    case .llama: break
    case .mistral: shape.slidingWindow = 4
    case .qwen2: shape.attentionBias = .inputs
    case .qwen3, .qwen3Mixture: shape.normalizesQueriesAndKeys = true
    case .ernieMixture: shape.sharedExpertCount = 1
    }
    if architecture.isMixture { (shape.expertCount, shape.expertsPerToken) = (4, 2) }
    // As MiniMind has them.
    if architecture == .qwen3 || architecture == .qwen3Mixture {
      (shape.ropeTheta, shape.rmsNormEpsilon) = (1e6, 1e-6)
    }
    return (architecture.rawValue, shape)
  }

  /// The cells of a row that follow from the code.
  static func cells(_ name: String, _ configuration: ModelConfiguration) throws -> [String] {
    let has = [
      configuration.attentionBias == .inputs ? "biases of queries, keys and values" : nil,
      configuration.slidingWindow == nil ? nil : "sliding window",
      configuration.normalizesQueriesAndKeys ? "norms of queries and keys" : nil,
      configuration.isMixture ? "experts" : nil, configuration.sharedExpertCount > 0 ? "shared experts" : nil,
    ].compactMap { $0 }.joined(separator: ", ")
    let presets = try ModelConfiguration.names.filter { Architecture(try .named($0)) == Architecture(configuration) }
    func isWritten(_ format: some ModelFormat) -> Bool {
      (try? format.check(configuration, tokenizer: nil, holdsAdapter: false, path: "")) != nil
    }
    return [
      name, has, presets.joined(separator: ", "),
      isWritten(GGUFFormat()) ? Architecture(configuration).ggufName : "no", isWritten(MiniMindFormat()) ? "yes" : "no",
    ]
  }

  @Test("docs/models.md has a row for each architecture, with what it has and where it goes")
  func documents() throws {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "../../docs/models.md")
    let rows = try String(contentsOf: path, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("| ") }
      .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
    let table = rows.filter { $0[0] != "architecture" }
    #expect(table.map { Array($0.prefix(5)) } == (try Self.examples.map(Self.cells)))
    // The configuration that each example writes is read as the same architecture.
    for (name, configuration) in Self.examples {
      #expect(configuration.huggingFaceConfig()["architectures"] == .array([.string(name)]))
    }
  }
}
