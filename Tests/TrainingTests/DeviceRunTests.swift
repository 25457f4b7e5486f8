import Foundation
import Model
import ProgramEngine
import Programs
import TestSupport
import Testing
import Training

/// Runs on a device that fails or is too small: what is said, and what is left.
@Suite("Runs on a device that fails")
struct DeviceRunTests {
  struct DeviceLost: Error, CustomStringConvertible {
    let description = "the device fell off the bus."
  }

  /// Interprets programs, as a device of its own memory that may fail.
  final class FailingDevice: ProgramRunner {
    static var fastestPrecision: ElementType { .float32 }
    let usesHostMemory = false
    let replicas = 1
    let memoryBytes: Int?
    /// Runs until it fails.
    private var runsLeft: Int
    private(set) var runs = 0

    init(memoryBytes: Int? = nil, failsAfter runs: Int = .max) { (self.memoryBytes, runsLeft) = (memoryBytes, runs) }

    func temporaryBytes(_ program: Program) -> Int { 1000 }
    func load(_ program: Program) -> Program { program }
    func upload(_ tensors: [HostTensor]) -> HostTensor { tensors[0] }
    func download(_ memory: HostTensor, replica: Int) -> HostTensor { memory }
    func run(_ program: Program, _ inputs: [HostTensor]) throws -> [HostTensor] {
      guard runsLeft > 0 else { throw DeviceLost() }
      (runsLeft, runs) = (runsLeft - 1, runs + 1)
      return Interpreter().run(program, inputs)
    }
  }

  private func settings(_ tiny: TinyRun) -> TrainingSettings {
    var settings = tiny.settings()
    settings.precision = .float32
    settings.batchTokens = 256
    settings.steps = 4
    settings.evalInterval = 2
    return settings
  }

  @Test("a device may fail at any moment: the error says why and how to go on, and the run goes on to the same weights")
  func failing() throws {
    try TinyRun.inFolder { tiny in
      let settings = settings(tiny)
      let whole = FailingDevice()
      let expected = try tiny.train(settings, output: "whole", engines: ProgramEngineProvider(whole)).path
      #expect(whole.runs > 20)
      // Before the first checkpoint and after it; in a pass, a norm, a step, an evaluation.
      for runs in stride(from: 4, to: whole.runs, by: 7) {
        let output = "fails-\(runs)"
        let error = #expect(throws: TrainingError.self, "after \(runs)") {
          try tiny.train(settings, output: output, engines: ProgramEngineProvider(FailingDevice(failsAfter: runs)))
        }
        let text = error?.description ?? ""
        #expect(text.contains("fell off the bus") && text.contains("minimind pretrain --resume"), "\(text)")
        let run = tiny.folder + "/" + output
        try tiny.resume(run, engines: ProgramEngineProvider(FailingDevice()))
        let model = "/model/model.safetensors"
        #expect(try bytes(run + model) == bytes(expected + model), "after \(runs)")
      }
    }
  }

  @Test("a device with too little memory is refused before the start, with the option to lower")
  func tooSmall() throws {
    try TinyRun.inFolder { tiny in
      let plan = try TrainingPlan(.pretrain, settings(tiny))
      let needed = try #require(try plan.deviceMemory(ProgramEngineProvider(FailingDevice()))).neededBytes
      // Weights, gradients and two moments in fp32, and what each program takes.
      #expect(needed >= 4 * 4 * plan.configuration.parameterCount + 1000)
      try plan.checkMemory(ProgramEngineProvider(FailingDevice(memoryBytes: needed)))
      let error = #expect(throws: TrainingError.self) {
        try plan.checkMemory(ProgramEngineProvider(FailingDevice(memoryBytes: needed - 1)))
      }
      let text = error?.description ?? ""
      #expect(text.contains("the device's memory") && text.contains("--micro-batch-tokens"), "\(text)")
      #expect(text.contains("--recompute-activations"), "\(text)")
    }
  }

  @Test("the record says where a run began, and runs on a device recompute activations")
  func record() throws {
    try TinyRun.inFolder { tiny in
      let stage = Stage.pretrain.computed(by: ProgramEngineProvider<FailingDevice>.self)
      var asked = settings(tiny)
      asked.precision = nil
      let plan = try TrainingPlan(stage, asked)
      #expect(plan.settings.recomputeActivations && plan.settings.precision == .float32)
      let run = try RunDirectory(creating: tiny.folder + "/run")
      try plan.record(programVersion: "test", device: "a card by PJRT 0.116").write(to: run)
      #expect(try RunRecord(of: run).device == "a card by PJRT 0.116")
      #expect(try TrainingPlan(.pretrain, settings(tiny)).record(programVersion: "test").device == nil)
    }
  }
}
