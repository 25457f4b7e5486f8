import CPUEngine
import Compute
import Foundation
import Model
import Testing
import TestSupport
import Training

@Suite("Training loop")
struct TrainingLoopTests {
  @Test(
    "a model learns its documents in seconds: the loss falls to a third, held out too",
    arguments: [
      ElementType.float32, .bfloat16,
    ])
  func learns(_ precision: ElementType) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings(threads: 2)
      settings.epochs = 20
      settings.precision = precision
      let events = EventList()
      let (summary, _) = try tiny.train(settings, output: "run", sinks: [events])
      let first = try #require(events.steps.first?.loss)
      // At the start every token is as likely as any other.
      #expect(abs(first - log(300)) < 0.1)
      #expect(try #require(summary.smoothedLoss) < first / 3)
      #expect(try #require(summary.heldOut).loss < first / 3)
      #expect(summary.isComplete)
    }
  }

  @Test("fine-tuning begins with the model's knowledge and trains on answers only")
  func fineTuning() throws {
    try TinyRun.inFolder { tiny in
      var base = tiny.settings(threads: 2)
      base.epochs = 10
      let (pretrained, path) = try tiny.train(base, output: "base")
      var settings = tiny.settings(.sft, threads: 2)
      settings.from = path
      settings.learningRate = 3e-3
      let events = EventList()
      let (summary, _) = try tiny.train(settings, stage: .sft, output: "chat", sinks: [events])
      // The answers are the documents that the base knows.
      let first = try #require(events.steps.first?.loss)
      let known = try #require(pretrained.heldOut).loss
      #expect(first < known + 1)
      #expect(try #require(summary.smoothedLoss) < first)
    }
  }

  @Test("a step over many micro-batches has the loss and the gradient norm of one over a single large batch")
  func accumulation() throws {
    try TinyRun.inFolder { tiny in
      var steps: [StepReport] = []
      for microBatch in [128, 1 << 14] {
        var settings = tiny.settings(threads: 2)
        settings.precision = .float32
        settings.microBatchTokens = microBatch
        // The whole epoch is one step, so that both see the same tokens.
        settings.batchTokens = 1 << 14
        settings.epochs = 1
        let events = EventList()
        try tiny.train(settings, output: "run-\(microBatch)", sinks: [events])
        #expect(events.steps.count == 1)
        steps += events.steps
      }
      #expect(steps[0].tokens == steps[1].tokens)
      let losses = steps.compactMap(\.loss)
      #expect(losses.count == 2 && abs(losses[0] - losses[1]) / losses[1] < 1e-6)
      #expect(abs(steps[0].gradientNorm - steps[1].gradientNorm) / steps[1].gradientNorm < 1e-5)
    }
  }

  @Test("gradients of micro-batches add up to those of the whole batch")
  func gradientSums() throws {
    let configuration = ModelConfiguration(
      hiddenSize: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2, vocabularySize: 97)
    let parameters = try Parameters(configuration: configuration, seed: 3)
    let pass = try TrainingPass(parameters, precision: .float32, maximumTokens: 96, team: WorkerTeam(count: 2))
    var generator = SeededGenerator(seed: 4)
    func ids(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32.random(in: 0..<97, using: &generator) } }
    let tokens = ids(96)
    let targets = ids(96)
    let weights = (0..<96).map { Float($0 % 3 == 0 ? 0 : 1) }
    func gradients(_ parts: [Range<Int>]) -> (LossSum, [Float]) {
      pass.zeroGradients()
      var sum = LossSum()
      for part in parts {
        sum += pass.forwardBackward(
          Batch(
            tokens: Array(tokens[part]), targets: Array(targets[part]), lossWeights: Array(weights[part]),
            documentOffsets: [0, Int32(part.count)]))
      }
      return (sum, Array(UnsafeBufferPointer(start: pass.gradients, count: parameters.table.totalCount)))
    }
    // As one batch, the three documents are packed side by side.
    pass.zeroGradients()
    let whole = pass.forwardBackward(
      Batch(tokens: tokens, targets: targets, lossWeights: weights, documentOffsets: [0, 20, 50, 96]))
    let expected = Array(UnsafeBufferPointer(start: pass.gradients, count: parameters.table.totalCount))
    let (sum, found) = gradients([0..<20, 20..<50, 50..<96])
    #expect(sum.weight == whole.weight && sum.tokens == whole.tokens)
    #expect(abs(sum.loss - whole.loss) / whole.loss < 1e-6)
    let difference = zip(found, expected).reduce(0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot()
    let size = expected.reduce(0) { $0 + pow(Double($1), 2) }.squareRoot()
    #expect(difference / size < 1e-5)
  }

  @Test("the same seed, data and workers give the same weights to the bit; another seed others", arguments: [1, 2])
  func sameBits(workers: Int) throws {
    try TinyRun.inFolder { tiny in
      func weights(_ output: String, seed: Int) throws -> Data {
        var settings = tiny.settings(threads: workers)
        settings.steps = 8
        settings.seed = seed
        return try bytes(try tiny.train(settings, output: output).path + "/model/model.safetensors")
      }
      let first = try weights("a", seed: 1)
      #expect(try weights("b", seed: 1) == first)
      #expect(try weights("c", seed: 2) != first)
    }
  }

  @Test("epochs read every token that often, and the counted steps are the steps made", arguments: [1, 3])
  func epochs(count: Int) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.epochs = count
      let plan = try TrainingPlan(.pretrain, settings)
      let events = EventList()
      let (summary, _) = try tiny.train(settings, output: "run", sinks: [events])
      #expect(summary.tokens == count * plan.dataset.training.inputTokenCount)
      #expect(summary.step == plan.totalSteps && events.steps.count == plan.totalSteps)
      #expect(events.steps.last?.epoch == Double(count))
    }
  }

  @Test("held-out evaluation counts the bytes of whole documents: bits a byte follow from nats a token")
  func bitsPerByte() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 2
      settings.evalTokens = 0
      let events = EventList()
      try tiny.train(settings, output: "run", sinks: [events])
      let heldOut = try TrainingPlan(.pretrain, settings).dataset.heldOut
      let evaluation = try #require(events.evaluations.last)
      #expect(evaluation.tokens == heldOut.trainedTokenCount)
      let expected = evaluation.loss * Double(evaluation.tokens) / log(2) / Double(heldOut.textByteCount)
      #expect(abs(try #require(evaluation.bitsPerByte) - expected) < 1e-9)
      // The first evaluation is of the untouched model, the last of the finished one.
      #expect(events.evaluations.map(\.step) == [0, 2])
    }
  }

  @Test("samples are made at evaluations and kept in samples.txt")
  func samples() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 4
      settings.evalInterval = 2
      settings.samplePrompt = ["Anna sees", "小明"]
      let events = EventList()
      let (_, path) = try tiny.train(settings, output: "run", sinks: [events]) { _ in ["one", "two\nlines"] }
      #expect(events.samples.map(\.step) == [0, 2, 4])
      let expected = [0, 2, 4].map { "=== step \($0)\n> Anna sees\none\n\n> 小明\ntwo\nlines\n\n" }.joined()
      #expect(try text(path + "/samples.txt") == expected)
    }
  }

  @Test("a loss that is not finite stops the run, names the step and the checkpoint, and leaves that whole")
  func nonFinite() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.steps = 12
      settings.checkpointInterval = 2
      settings.warmupSteps = 0
      let (_, path) = try tiny.train(settings, output: "run", stopAfter: 5)
      // Weights that are finite and overflow in the logits.
      let model = path + "/checkpoints/step-5/model"
      let parameters = try Parameters(modelDirectory: model)
      let norm = parameters[ParameterKey.finalNorm]
      for index in norm.indices { norm[index] = 3e38 }
      try parameters.save(modelDirectory: model, tokenizerDirectory: tiny.pretrainData)
      let before = try bytes(model + "/model.safetensors")
      let error = #expect(throws: TrainingError.self) { try tiny.resume(path) }
      #expect(error?.description.hasPrefix("step 6: the loss is not a finite number") == true)
      #expect(error?.description.contains("\(path)/checkpoints/step-5") == true)
      #expect(error?.description.contains("--learning-rate") == true)
      #expect(try bytes(model + "/model.safetensors") == before)
      #expect(try RunDirectory(resuming: path).checkpointSteps == [4, 5])
    }
  }
}
