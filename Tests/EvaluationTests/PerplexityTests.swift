import CPUEngine
import Compute
import Corpus
import Evaluation
import Foundation
import Generation
import Model
import Reference
import TestSupport
import Testing
import Tokenization

@Suite struct PerplexityTests {
  static let texts = [
    "hello world, hello there", "你好，世界。", "x", "a question and an answer, and one more question",
    String(repeating: "what a world ", count: 40),
  ]

  static let tokenizer: Tokenizer = {
    var trainer = try! TokenizerTrainer(vocabularySize: 280, threads: 1)
    for text in texts { try! trainer.add(document: text) }
    return try! trainer.train()
  }()

  static func parameters(vocabularySize: Int = tokenizer.vocabularySize) throws -> Parameters {
    let parameters = try Parameters(
      configuration: ModelConfiguration(
        hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, intermediateSize: 64,
        vocabularySize: vocabularySize), seed: 5)
    for entry in parameters.table.entries where entry.role.isDecayed {
      for index in entry.range { parameters.values[index] *= 5 }
    }
    return parameters
  }

  static func measure(
    _ parameters: Parameters, sequenceLength: Int = 512, precision: ElementType = .float32,
    engines: any TrainingEngineProvider = CPUEngineProvider(threads: 2)
  ) throws -> Perplexity {
    let meter = try PerplexityMeter(
      parameters, tokenizer, precision: precision, sequenceLength: sequenceLength, engines: engines)
    for text in texts { try Array(text.utf8).withUnsafeBytes { try meter.add($0) } }
    return try #require(meter.finish())
  }

  /// The loss by the definition: each piece by itself, its logits, the logarithm of a softmax in Double.
  static func expectedLoss(_ parameters: Parameters, sequenceLength: Int) throws -> (loss: Double, tokens: Int) {
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: 1024, team: WorkerTeam(count: 1), trains: false)
    let vocabulary = parameters.configuration.vocabularySize
    var loss = 0.0
    var count = 0
    for text in texts {
      let document = tokenizer.beginTokens + (try tokenizer.encode(text)) + [tokenizer.endToken]
      for start in stride(from: 0, to: document.count - 1, by: sequenceLength) {
        let tokens = Array(document[start..<min(start + sequenceLength, document.count - 1)])
        let logits = pass.logits(Batch(prompts: [tokens]))
        for index in tokens.indices {
          let row = logits[index * vocabulary..<(index + 1) * vocabulary].map(Double.init)
          let target = row[Int(document[start + index + 1])]
          loss += log(row.reduce(0) { $0 + exp($1 - target) })
          count += 1
        }
      }
    }
    return (loss, count)
  }

  @Test("loss, tokens and bytes are those of the definition, for any sequence length", arguments: [512, 64, 7, 1])
  func definition(sequenceLength: Int) throws {
    let parameters = try Self.parameters()
    let result = try Self.measure(parameters, sequenceLength: sequenceLength)
    let expected = try Self.expectedLoss(parameters, sequenceLength: sequenceLength)
    #expect(result.tokens == expected.tokens)
    #expect(result.documents == Self.texts.count)
    #expect(result.textBytes == Self.texts.reduce(0) { $0 + $1.utf8.count })
    // A loss is off by a few roundings of its logits.
    #expect(abs(result.lossSum - expected.loss) < 1e-5 * expected.loss)
    #expect(abs(result.perplexity - exp(expected.loss / Double(expected.tokens))) < 1e-3 * result.perplexity)
    #expect(abs(result.bitsPerByte - expected.loss / log(2) / Double(result.textBytes)) < 1e-5 * result.bitsPerByte)
  }

  @Test("the model on one page measures the same", arguments: [512, 7])
  func reference(sequenceLength: Int) throws {
    let parameters = try Self.parameters()
    let result = try Self.measure(parameters, sequenceLength: sequenceLength)
    let expected = try Self.measure(
      parameters, sequenceLength: sequenceLength, engines: ReferenceTrainingProvider())
    #expect(result.tokens == expected.tokens && abs(result.loss / expected.loss - 1) < 1e-5)
    let model = ReferenceInferenceEngine(parameters, contextLength: sequenceLength)
    let meter = try PerplexityMeter(model, Self.tokenizer)
    for text in Self.texts { try Array(text.utf8).withUnsafeBytes { try meter.add($0) } }
    let written = try #require(meter.finish())
    #expect(written.tokens == expected.tokens && abs(written.loss / expected.loss - 1) < 1e-5)
  }

  @Test("a model in use measures the same, a little apart with weights of fewer bits", arguments: WeightType.allCases)
  func inference(type: WeightType) throws {
    let parameters = try Self.parameters()
    for sequenceLength in [512, 7] {
      let model = try CPUInferenceEngine(
        parameters, type: type, contextLength: sequenceLength, team: WorkerTeam(count: 2))
      let meter = try PerplexityMeter(model, Self.tokenizer)
      for text in Self.texts { try Array(text.utf8).withUnsafeBytes { try meter.add($0) } }
      let result = try #require(meter.finish())
      let expected = try Self.measure(parameters, sequenceLength: sequenceLength)
      #expect(result.tokens == expected.tokens && result.textBytes == expected.textBytes)
      let bounds: [WeightType: Double] = [.float32: 1e-5, .bfloat16: 0.01, .q8: 0.01, .q4: 0.1]
      #expect(abs(result.loss - expected.loss) < bounds[type]! * expected.loss)
      #expect(type == .float32 || result.loss != expected.loss)
    }
  }

  @Test("a model that knows nothing needs the logarithm of its vocabulary")
  func uniform() throws {
    let parameters = try Self.parameters()
    parameters.values.update(repeating: 0, count: parameters.table.totalCount)
    for precision in ElementType.allCases {
      let result = try Self.measure(parameters, precision: precision)
      #expect(abs(result.loss - log(Double(Self.tokenizer.vocabularySize))) < 1e-6)
    }
  }

  @Test("bfloat16 finds nearly the same loss")
  func bfloat16() throws {
    let parameters = try Self.parameters()
    let exact = try Self.measure(parameters)
    let rounded = try Self.measure(parameters, precision: .bfloat16)
    #expect(rounded.tokens == exact.tokens)
    #expect(abs(rounded.loss - exact.loss) < 0.01 * exact.loss)
  }

  @Test("held-out shards give the same as the texts they were made from")
  func shards() throws {
    try withTemporaryDirectory { directory in
      let lines = Self.texts + (0..<60).map { "line \($0) of a text that is mostly for training" }
      try (lines.joined(separator: "\n") + "\n").write(
        toFile: directory + "/texts.txt", atomically: true, encoding: .utf8)
      try Self.tokenizer.save(to: directory + "/tokenizer")
      let tokenizer = try Tokenizer(directory: directory + "/tokenizer")
      var preparation = DataPreparation(
        task: .pretrain(PretrainFilters()), files: try InputFiles([directory + "/texts.txt"]).files,
        tokenizer: tokenizer)
      preparation.heldOutFraction = 0.5
      _ = try preparation.write(to: directory + "/data", programVersion: "test")
      let dataset = try TokenShardDataset(directory: directory + "/data")
      let parameters = try Self.parameters()
      func meter() throws -> PerplexityMeter {
        try PerplexityMeter(
          parameters, tokenizer, precision: .float32, sequenceLength: 30, engines: CPUEngineProvider(threads: 2))
      }
      let fromShards = try meter()
      try fromShards.add(dataset.heldOut)
      let fromTexts = try meter()
      for index in 0..<dataset.heldOut.documentCount {
        let (shard, document) = dataset.heldOut.locate(index)
        let ids = shard.tokenRange(ofDocument: document).dropFirst().dropLast().map { shard.token($0) }
        try Array(tokenizer.decode(ids).utf8).withUnsafeBytes { try fromTexts.add($0) }
      }
      let (left, right) = (try #require(fromShards.finish()), try #require(fromTexts.finish()))
      #expect(left.tokens == right.tokens && left.textBytes == right.textBytes && left.documents == right.documents)
      #expect(abs(left.lossSum - right.lossSum) < 1e-6 * right.lossSum)
    }
  }

  @Test("nothing added is nothing measured")
  func nothing() throws {
    let meter = try PerplexityMeter(
      try Self.parameters(), Self.tokenizer, precision: .float32, sequenceLength: 8,
      engines: CPUEngineProvider(threads: 1))
    #expect(meter.finish() == nil)
  }
}
