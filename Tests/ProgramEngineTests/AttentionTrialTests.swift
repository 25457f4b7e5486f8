import Model
import ProgramEngine
import Programs
import Testing

/// The trial that decides whether a device's kernel of attention is used, on the interpreter and on a device that is wrong.
@Suite("Trial of attention")
struct AttentionTrialTests {
  /// Interprets programs, with attention as a kernel, and changes a number of what a pass of it gives, if it is wrong.
  private struct KernelDevice: ProgramRunner {
    static var fastestPrecision: ElementType { .float32 }
    let usesHostMemory = true, memoryBytes: Int? = nil, replicas = 1
    var wrongPass: AttentionPass?
    var change: @Sendable (Float) -> Float = { $0 }

    func temporaryBytes(_ program: Program) -> Int { 0 }
    func load(_ program: Program) -> Program { program }
    func upload(_ tensors: [HostTensor]) -> HostTensor { tensors[0] }
    func download(_ memory: HostTensor, replica: Int) -> HostTensor { memory }
    func attentionVerdict(_ shape: AttentionShape, trial: () throws -> AttentionVerdict) -> AttentionVerdict? {
      try? trial()
    }
    func run(_ program: Program, _ inputs: [HostTensor]) -> [HostTensor] {
      let results = Interpreter().run(program, inputs)
      guard let wrongPass else { return results }
      let isWrong = program.instructions.contains {
        if case .attention(wrongPass, _) = $0.operation { true } else { false }
      }
      guard isWrong else { return results }
      // The outputs are o, q̄, k̄ and v̄.
      let place = [.forward: 0, .queries: 1, .keysAndValues: 3][wrongPass]!
      return results.enumerated().map { index, result in
        var numbers = result.floats
        if index == place { numbers[numbers.count - 7] = change(numbers[numbers.count - 7]) }
        return HostTensor(numbers, result.type.shape)
      }
    }
  }

  @Test("both forms agree", arguments: [TensorElement.float32, .bfloat16], [(2, 1), (2, 2)])
  func agreement(element: TensorElement, heads: (Int, Int)) throws {
    let trial = AttentionTrial(heads: heads.0, groups: heads.1, size: 16, element)
    guard case .works(let difference) = try trial.verdict(on: Interpreter()) else {
      Issue.record("the interpreter's attention fails")
      return
    }
    #expect(difference < (element == .float32 ? 1e-5 : 0.01) && difference > 0)
  }

  @Test("a number that is wrong in one result is found", arguments: AttentionPass.allCases)
  func wrong(pass: AttentionPass) throws {
    let trial = AttentionTrial(heads: 1, groups: 1, size: 16, .float32)
    for change: @Sendable (Float) -> Float in [{ $0 + 0.1 }, { _ in .nan }, { _ in .infinity }] {
      let verdict = try trial.verdict(on: KernelDevice(wrongPass: pass, change: change))
      #expect(!verdict.works && "\(verdict)".contains("differs"), "\(verdict)")
    }
  }

  @Test("programs take a kernel where it works, and are composed where it fails or there is none")
  func sizes() throws {
    let model = ModelConfiguration(hiddenSize: 32, layerCount: 1, headCount: 2, keyValueHeadCount: 1)
    let settings = EngineSettings(precision: .float32, maximumTokens: 64, optimizer: .adamW)
    func form(_ provider: ProgramEngineProvider<some ProgramRunner>) -> (form: AttentionForm, text: String?) {
      let sizes = provider.sizes(of: model, settings)
      return (sizes.attention, provider.attention)
    }
    #expect(form(ProgramEngineProvider(Interpreter())) == (.composed, nil))
    let works = form(ProgramEngineProvider(KernelDevice()))
    #expect(works.form == .kernel && works.text?.hasPrefix("by its kernel, which differs by ") == true)
    let fails = form(ProgramEngineProvider(KernelDevice(wrongPass: .forward) { $0 + 1 }))
    #expect(
      fails.form == .composed && fails.text?.hasPrefix("composed. The kernel is not used: it differs by ") == true)
  }
}
