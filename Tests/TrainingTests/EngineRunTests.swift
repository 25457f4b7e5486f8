import CPUEngine
import Foundation
import Model
import ProgramEngine
import Programs
import Reference
import TestSupport
import Testing
import Training

/// Whole runs of the trainer by the model on one page, and by programs that are interpreted, against those of the processor's
/// engine: what training knows of an engine is enough for others.
@Suite("Runs by another engine")
struct EngineRunTests {
  enum Case: String, CaseIterable, CustomTestStringConvertible {
    case dense, muon, mixture, lora, preferences, teacher, judged, scores, answers, values

    var testDescription: String { rawValue }
    var stage: Stage {
      switch self {
      case .dense, .muon, .mixture: .pretrain
      case .lora: .lora
      case .preferences: .dpo
      case .teacher: .sft
      case .judged: .kto
      case .scores: .reward
      case .answers: .grpo
      case .values: .ppo
      }
    }
  }

  /// Those that the model on one page knows, which scores no texts; answers are written by the processor for every engine.
  private static let cases =
    Case.allCases.map { (Other.program, $0) }
    + Case.allCases.filter { ![.scores, .judged, .answers].contains($0) }.map { (Other.reference, $0) }

  enum Other: String, CaseIterable, CustomTestStringConvertible {
    case reference, program

    var testDescription: String { rawValue }
    var provider: any TrainingEngineProvider {
      switch self {
      case .reference: ReferenceTrainingProvider()
      case .program: ProgramEngineProvider(Interpreter())
      }
    }
  }

  @Test("losses, norms, evaluations and weights are those of the CPU's engine in fp32", arguments: Self.cases)
  func curves(other: Other, test: Case) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings(test.stage)
      settings.precision = .float32
      if test.stage.readsDocuments { settings.batchTokens = 256 }
      settings.steps = 4
      settings.evalInterval = 2
      settings.evalTokens = 200
      settings.learningRate = 0.003
      switch test {
      case .dense, .preferences, .judged, .teacher: break
      case .scores: settings.data = tiny.preferences
      case .values:
        (settings.promptsPerStep, settings.answerTokens, settings.passes) = (6, 16, 2)
        settings.divergence = 0.05
      case .answers:
        (settings.promptsPerStep, settings.answersPerPrompt, settings.answerTokens) = (2, 4, 16)
        settings.divergence = 0.05
      case .muon: settings.optimizer = .muon
      case .mixture: settings.model = tiny.mixtureConfiguration
      case .lora: settings.loraDropout = other == .program ? 0.2 : 0
      }
      if test.stage != .pretrain {
        var base = tiny.settings()
        base.steps = 3
        settings.from = try tiny.train(base, output: "base").path
        if test == .teacher {
          base.steps = 12
          settings.teacher = try tiny.train(base, output: "teacher").path
          settings.distillBeta = 0.5
          (settings.onPolicy, settings.answerTokens) = (0.5, 16)
        }
      }
      func run(_ engines: (any TrainingEngineProvider)?, _ output: String) throws -> (EventList, String) {
        let events = EventList()
        let path = try tiny.train(settings, stage: test.stage, output: output, sinks: [events], engines: engines).path
        return (events, path)
      }
      let (cpu, cpuPath) = try run(nil, "cpu")
      let (reference, referencePath) = try run(other.provider, "other")
      // The CPU's sums in fp32 err by some 1e-6 of their size; a step's AdamW divides gradients by their own size, so that
      // errors of small gradients grow, and four steps add up.
      let bound = 1e-3
      #expect(cpu.steps.count == 4 && reference.steps.count == 4)
      for (one, other) in zip(cpu.steps, reference.steps) {
        let (loss, otherLoss) = (try #require(one.loss), try #require(other.loss))
        // PPO's is the mean of advantages that are of the size of 1 and cancel each other.
        let size = max(abs(loss), test == .values ? 0.1 : 1e-3)
        #expect(abs(loss - otherLoss) <= bound * size, "step \(one.step)")
        #expect(abs(one.gradientNorm - other.gradientNorm) <= 10 * bound * one.gradientNorm, "step \(one.step)")
        #expect(one.tokens == other.tokens && one.learningRate == other.learningRate)
      }
      #expect(!cpu.evaluations.isEmpty && cpu.evaluations.count == reference.evaluations.count)
      for (one, other) in zip(cpu.evaluations, reference.evaluations) {
        #expect(abs(one.loss - other.loss) <= bound * abs(one.loss))
      }
      // What was published is there, under the same names.
      for file in try FileManager.default.contentsOfDirectory(atPath: cpuPath + "/model") {
        #expect(try bytes(cpuPath + "/model/" + file).count == bytes(referencePath + "/model/" + file).count, "\(file)")
      }
    }
  }

  @Test(
    "a run by another engine that is stopped and resumed has the weights of one that was not", arguments: Other.allCases
  )
  func resume(other: Other) throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.precision = .float32
      settings.batchTokens = 256
      settings.steps = 4
      let engines = other.provider
      let whole = try tiny.train(settings, output: "whole", engines: engines).path
      let parts = try tiny.train(settings, output: "parts", stopAfter: 2, engines: engines).path
      try tiny.resume(parts, engines: engines)
      #expect(try bytes(whole + "/model/model.safetensors") == bytes(parts + "/model/model.safetensors"))
    }
  }

  @Test("what another engine does not do is refused by name")
  func refused() throws {
    try TinyRun.inFolder { tiny in
      _ = #expect(throws: ReferenceEngineError.precision(.bfloat16)) {
        try tiny.train(tiny.settings(), output: "run", engines: ReferenceTrainingProvider())
      }
    }
  }
}
