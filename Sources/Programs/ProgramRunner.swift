/// Runs programs on some device, in whose memory their inputs and outputs stay until they are asked for.
package protocol ProgramRunner {
  associatedtype Loaded
  associatedtype Memory

  /// Makes a program ready to be run many times.
  func load(_ program: Program) -> Loaded

  /// A copy of the numbers in the device's memory.
  func upload(_ tensor: HostTensor) -> Memory

  /// A copy of the numbers in the host's memory.
  func download(_ memory: Memory) -> HostTensor

  /// The outputs of a program. Inputs that it may take the memory of are gone.
  func run(_ loaded: Loaded, _ inputs: [Memory]) -> [Memory]
}

extension Interpreter: ProgramRunner {
  package func load(_ program: Program) -> Program { program }
  package func upload(_ tensor: HostTensor) -> HostTensor { tensor }
  package func download(_ memory: HostTensor) -> HostTensor { memory }
}
