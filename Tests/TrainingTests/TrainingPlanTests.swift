import CPUEngine
import Foundation
import Model
import TestSupport
import Testing
import Tokenization
import Training

@Suite("Training plan")
struct TrainingPlanTests {
  private func failure(_ settings: TrainingSettings, _ stage: Stage = .pretrain) -> String? {
    do {
      _ = try TrainingPlan(stage, settings)
      return nil
    } catch { return "\(error)" }
  }

  @Test("options that contradict each other are refused by name")
  func contradictions() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.sequenceLength = 128
      settings.microBatchTokens = 64
      #expect(failure(settings)?.contains("--sequence-length 128 does not fit into --micro-batch-tokens 64") == true)
      settings = tiny.settings()
      settings.batchTokens = 200
      #expect(failure(settings)?.contains("--batch-tokens 200 is less than --micro-batch-tokens 256") == true)
      settings = tiny.settings()
      settings.epochs = 1
      settings.steps = 1
      #expect(failure(settings)?.contains("--epochs and --steps") == true)
      settings = tiny.settings()
      settings.sequenceLength = 129
      #expect(failure(settings)?.contains("--sequence-length 129 is longer than the model's 128") == true)
    }
  }

  @Test("data for another stage, no data, and an unknown model are refused with what to do")
  func inputs() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.data = tiny.conversations
      #expect(failure(settings)?.contains("was prepared for sft, not for pretrain") == true)
      settings.data = tiny.folder
      #expect(failure(settings)?.contains("is no prepared data") == true)
      settings.data = tiny.folder + "/nowhere"
      #expect(failure(settings)?.contains("nowhere") == true)
      settings = tiny.settings()
      settings.model = "smal"
      #expect(failure(settings)?.contains("small") == true)
      settings = tiny.settings(.sft)
      settings.from = tiny.folder
      #expect(failure(settings, .sft)?.contains("is not a model") == true)
    }
  }

  @Test("a vocabulary smaller than the tokenizer's is refused; a named model takes the tokenizer's")
  func vocabulary() throws {
    try TinyRun.inFolder { tiny in
      let small = ModelConfiguration(
        hiddenSize: 32, layerCount: 1, headCount: 2, keyValueHeadCount: 1, vocabularySize: 299)
      let path = tiny.folder + "/small.json"
      try Data(small.huggingFaceConfig().text().utf8).write(to: URL(fileURLWithPath: path))
      var settings = tiny.settings()
      settings.model = path
      #expect(failure(settings)?.contains("the model has 299 tokens (vocab_size), fewer than the 300") == true)
      settings.model = "tiny"
      settings.sequenceLength = 1024
      settings.microBatchTokens = 1024
      settings.batchTokens = 1024
      let configuration = try TrainingPlan(.pretrain, settings).configuration
      #expect(configuration.vocabularySize == 300)
      #expect(configuration.maximumSequenceLength == 1024)
      #expect(configuration.beginTokenID == 1 && configuration.endTokenIDs == [2])
    }
  }

  @Test("data made with another tokenizer than the model's are refused")
  func otherTokenizer() throws {
    try TinyRun.inFolder { tiny in
      var base = tiny.settings()
      base.steps = 1
      let (_, path) = try tiny.train(base, output: "base")
      var settings = tiny.settings(.sft)
      settings.from = path
      // The same one, saved by a program that lays out its file otherwise.
      let file = path + "/model/tokenizer.json"
      try Data((try text(file) + "\n").utf8).write(to: URL(fileURLWithPath: file))
      #expect(failure(settings, .sft) == nil)
      var trainer = try TokenizerTrainer(vocabularySize: 290, threads: 1)
      for text in tinyDocuments { try trainer.add(document: text) }
      try trainer.train().save(to: path + "/model")
      #expect(failure(settings, .sft)?.contains("was prepared with another tokenizer") == true)
    }
  }

  @Test("what is left out is chosen for the data: small ones get small batches, an evaluation takes its share")
  func choices() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.batchTokens = nil
      settings.microBatchTokens = nil
      settings.epochs = 200
      let plan = try TrainingPlan(.pretrain, settings)
      let tokens = plan.dataset.training.inputTokenCount * 200
      let batch = plan.settings.batchTokens
      #expect([2048, 4096, 8192, 16384].contains(batch) && tokens / batch >= 500)
      #expect(batch == 16384 || tokens / (2 * batch) < 500)
      #expect(plan.settings.microBatchTokens == 2048)
      #expect(plan.settings.warmupSteps == plan.totalSteps * 3 / 100)
      #expect(plan.settings.checkpointInterval == plan.settings.evalInterval)
    }
  }

  @Test("a run that does not fit into memory is refused with the flag that helps")
  func memory() throws {
    try TinyRun.inFolder { tiny in
      let plan = try TrainingPlan(.pretrain, tiny.settings())
      let engines = CPUEngineProvider(threads: plan.settings.threads)
      try plan.checkMemory(engines, availableBytes: try plan.memoryBytes(engines))
      try plan.checkMemory(engines, availableBytes: nil)
      let error = #expect(throws: TrainingError.self) {
        try plan.checkMemory(engines, availableBytes: try plan.memoryBytes(engines) - 1)
      }
      #expect(throws: TrainingError.self) {
        try plan.checkMemory(engines, samplingBytes: 1, availableBytes: try plan.memoryBytes(engines))
      }
      #expect(error?.description.contains("Lower --micro-batch-tokens (256)") == true)
    }
  }

  @Test("every option is recorded under the name of its flag")
  func record() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 1
      let (_, path) = try tiny.train(settings, output: "run")
      let json = try JSONSerialization.jsonObject(with: try bytes(path + "/training.json")) as? [String: Any]
      let options = try #require(json?["options"] as? [String: Any])
      #expect(
        Set(options.keys) == [
          "model", "data", "steps", "batch-tokens", "micro-batch-tokens", "sequence-length", "optimizer",
          "learning-rate",
          "schedule",
          "warmup-steps", "beta1", "beta2", "epsilon", "weight-decay", "gradient-clip", "precision",
          "recompute-activations", "device", "devices", "seed", "threads",
          "eval-interval", "eval-tokens", "checkpoint-interval", "keep-checkpoints", "log-interval", "sample-prompt",
          "tensorboard",
        ])
      #expect(options["precision"] as? String == "bf16" && options["threads"] as? Int == 1)
      #expect(json?["stage"] as? String == "pretrain")
      #expect(json?["tokenizerHash"] as? String == tinyTokenizer.contentHash)
      #expect((json?["dataManifestHash"] as? String)?.count == 64)
      #expect(json?["programVersion"] as? String == "test")
      #expect((json?["machine"] as? String)?.contains("cores") == true)
    }
  }
}
