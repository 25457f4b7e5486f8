import Programs

/// A runner as engines use it, which cannot throw: a device that fails ends the process.
struct Device<Runner: ProgramRunner> {
  let runner: Runner
  let onFailure: (any Error) -> Never

  private func attempt<Result>(_ body: () throws -> Result) -> Result {
    do { return try body() } catch { onFailure(error) }
  }

  func load(_ program: Program) -> Runner.Loaded { attempt { try runner.load(program) } }
  func upload(_ tensor: HostTensor) -> Runner.Memory { attempt { try runner.upload(tensor) } }
  func download(_ memory: Runner.Memory) -> HostTensor { attempt { try runner.download(memory) } }
  func run(_ loaded: Runner.Loaded, _ inputs: [Runner.Memory]) -> [Runner.Memory] {
    attempt { try runner.run(loaded, inputs) }
  }
}
