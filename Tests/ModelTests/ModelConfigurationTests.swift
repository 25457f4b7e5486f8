import Model
import TestSupport
import Testing

@Suite struct ModelConfigurationTests {
  @Test("the named models have the published sizes", arguments: [("small", 26.88), ("base", 108.75), ("moe", 96.1)])
  func publishedSizes(name: String, millions: Double) throws {
    let count = try ModelConfiguration.named(name).parameterCount
    #expect(abs(Double(count) / 1e6 - millions) < 0.006)
  }

  @Test("MiniMind 3 has its sizes to the parameter, of which a token of the mixture meets those of one expert a layer")
  func miniMind3() throws {
    let (dense, mixture) = (try ModelConfiguration.named("minimind-3"), try ModelConfiguration.named("minimind-3-moe"))
    #expect(dense.parameterCount == 63_912_192 && mixture.parameterCount == 198_416_640)
    #expect(dense.headSize == 96)
    #expect(mixture.activeParameterCount == dense.parameterCount + 8 * 4 * 768)
    for configuration in [dense, mixture] { try configuration.validate(source: "test") }
  }

  @Test("tiny has three to six million parameters")
  func tinySize() throws {
    let configuration = try ModelConfiguration.named("tiny")
    #expect((3_000_000...6_000_000).contains(configuration.parameterCount))
    #expect(configuration.headSize == 32)
  }

  @Test("the feed-forward width is two thirds of four times the width, rounded up to 64")
  func intermediateSize() throws {
    #expect(try ModelConfiguration.named("small").intermediateSize == 1408)
    #expect(try ModelConfiguration.named("base").intermediateSize == 2048)
  }

  @Test("an unknown name suggests the nearest")
  func unknownName() {
    #expect(throws: ConfigurationError.unknownName("smal", nearest: "small")) { try ModelConfiguration.named("smal") }
    let text = ConfigurationError.unknownName("smal", nearest: "small").description
    #expect(
      text
        == "there is no model named 'smal'; did you mean 'small'? Known: tiny, small, minimind-3, moe, base, "
        + "minimind-3-moe, or a config.json file."
    )
    #expect(throws: ConfigurationError.unknownName("gigantic", nearest: nil)) {
      try ModelConfiguration.named("gigantic")
    }
  }

  @Test("impossible shapes are refused")
  func impossibleShapes() throws {
    let changes: [(inout ModelConfiguration) -> Void] = [
      { $0.hiddenSize = 0 }, { $0.layerCount = -1 }, { $0.keyValueHeadCount = 3 }, { $0.headSize = 5 },
      { $0.vocabularySize = .max }, { $0.ropeTheta = .nan }, { $0.rmsNormEpsilon = 0 }, { $0.endTokenIDs = [6400] },
      { $0.beginTokenID = -1 }, { $0.intermediateSize = .max }, { $0.layerCount = 1 << 40 }, { $0.slidingWindow = 0 },
      { ($0.slidingWindow, $0.attentionBias) = (8, .inputs) },
      { ($0.normalizesQueriesAndKeys, $0.attentionBias) = (true, .inputs) },
      { $0.rotaryScaling = .llama3(Llama3Scaling(factor: 0, originalLength: 64)) },
      { $0.rotaryScaling = .llama3(Llama3Scaling(factor: 2, originalLength: 64, slowTurns: 4)) },
    ]
    for change in changes {
      var configuration = try ModelConfiguration.named("tiny")
      change(&configuration)
      #expect(throws: ConfigurationError.self) { try configuration.validate(source: "test") }
    }
    let mixtureChanges: [(inout ModelConfiguration) -> Void] = [
      { $0.expertsPerToken = 0 }, { $0.expertsPerToken = 5 }, { $0.expertCount = -1 }, { $0.expertCount = 1 << 20 },
      { $0.sharedExpertCount = -1 }, { $0.sharedExpertCount = .max }, { $0.balanceLossWeight = .nan },
      { $0.balanceLossWeight = -1 }, { $0.normalizesQueriesAndKeys = true }, { $0.attentionBias = .inputsAndOutput },
      { $0.normalizesExpertWeights = false },
    ]
    for change in mixtureChanges {
      var configuration = try ModelConfiguration.named("moe")
      change(&configuration)
      #expect(throws: ConfigurationError.self) { try configuration.validate(source: "test") }
    }
  }
}

@Suite struct ParameterTests {
  @Test("the table covers every parameter once", arguments: ["tiny", "small", "base", "moe"])
  func tableCoversParameters(name: String) throws {
    var configuration = try ModelConfiguration.named(name)
    for variant in 0..<4 {
      configuration.attentionBias = [.none, .inputs, .inputsAndOutput, .none][variant]
      configuration.tiesEmbeddings = variant & 1 == 0
      configuration.normalizesQueriesAndKeys = variant & 2 != 0
      configuration.sharedExpertCount = configuration.isMixture ? variant : 0
      let table = try ParameterTable(configuration)
      #expect(table.entries.reduce(0) { $0 + $1.count } == configuration.parameterCount)
      for (entry, next) in zip(table.entries, table.entries.dropFirst()) {
        #expect(entry.range.upperBound <= next.offset)
        #expect(next.offset % 16 == 0)
      }
      #expect(table.entries.last!.range.upperBound <= table.totalCount)
    }
  }

  @Test("queries, keys and values form one matrix, gate and up another, at any size")
  func fusedMatrices() throws {
    var configuration = ModelConfiguration(
      hiddenSize: 7, layerCount: 2, headCount: 3, keyValueHeadCount: 1, headSize: 2, intermediateSize: 5,
      vocabularySize: 11)
    configuration.tiesEmbeddings = false
    let table = try ParameterTable(configuration)
    for layer in 0..<2 {
      let key = ParameterKey.Layer(layer)
      #expect(table.offset(key.key) == table.offset(key.query) + 6 * 7)
      #expect(table.offset(key.value) == table.offset(key.key) + 2 * 7)
      let feedForward = key.feedForward(configuration)
      #expect(table.offset(feedForward.up) == table.offset(feedForward.gate) + 5 * 7)
    }
  }

  @Test("initial weights follow the seed, with the deviations of the specification")
  func initialisation() throws {
    var configuration = try ModelConfiguration.named("tiny")
    configuration.normalizesQueriesAndKeys = true
    let first = try Parameters(configuration: configuration, seed: 1)
    let again = try Parameters(configuration: configuration, seed: 1)
    let other = try Parameters(configuration: configuration, seed: 2)
    #expect(first.allValues == again.allValues)
    #expect(first.allValues != other.allValues)
    let key = ParameterKey.Layer(3)
    let feedForward = key.feedForward(configuration)
    let scaled = 0.02 / (2 * Double(configuration.layerCount)).squareRoot()
    for (name, deviation) in [
      (ParameterKey.embedding, 0.02), (key.query, 0.02), (feedForward.gate, 0.02), (feedForward.down, 0.02),
      (feedForward.up, scaled),
      (key.attentionOutput, scaled),
    ] {
      let values = first.copy(of: name)
      let mean = values.reduce(0) { $0 + Double($1) } / Double(values.count)
      let variance = values.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(values.count)
      // Five standard errors of the mean, and of the variance, of n normal draws.
      let count = Double(values.count)
      #expect(abs(mean) < 5 * deviation / count.squareRoot(), "\(name)")
      #expect(abs(variance / (deviation * deviation) - 1) < 5 * (2 / count).squareRoot(), "\(name)")
    }
    for name in [ParameterKey.finalNorm, key.attentionNorm, key.feedForwardNorm, key.queryNorm, key.keyNorm] {
      #expect(first.copy(of: name).allSatisfy { $0 == 1 })
    }
  }

  @Test("every expert's gate and up form one matrix; shared experts are one block, as wide as all of them")
  func experts() throws {
    var configuration = ModelConfiguration(
      hiddenSize: 7, layerCount: 2, headCount: 3, keyValueHeadCount: 1, headSize: 2, intermediateSize: 5,
      vocabularySize: 11)
    configuration.expertCount = 3
    configuration.expertsPerToken = 2
    configuration.sharedExpertCount = 2
    let table = try ParameterTable(configuration)
    for layer in 0..<2 {
      let key = ParameterKey.Layer(layer)
      #expect(table.entry(key.router)?.shape == [3, 7])
      for (block, width) in (0..<3).map({ (key.expert($0), 5) }) + [(key.feedForward(configuration), 10)] {
        #expect(table.offset(block.up) == table.offset(block.gate) + width * 7)
        #expect(table.entry(block.down)?.shape == [7, width])
      }
    }
    #expect(table.entries.filter { $0.role == .router }.count == 2)
  }
}
