import Model

/// Tells what programs take on some device, which need not be there.
package protocol ProgramMeter {
  /// What the device lets programs have; nil where it is the host's memory, or not known.
  var memoryBytes: Int? { get }

  /// Bytes of its memory that a run takes in addition to inputs and outputs.
  func temporaryBytes(_ program: Program) throws -> Int
}

/// Runs programs on some device, in whose memory their inputs and outputs stay until they are asked for.
///
/// What goes wrong on a device, such as too little memory, is thrown.
package protocol ProgramRunner: ProgramMeter {
  associatedtype Loaded
  associatedtype Memory

  /// What it multiplies fastest.
  static var fastestPrecision: ElementType { get }

  /// Whether what it keeps is in the memory of the host.
  var usesHostMemory: Bool { get }

  /// Makes a program ready to be run many times.
  func load(_ program: Program) throws -> Loaded

  /// A copy of the numbers in the device's memory.
  func upload(_ tensor: HostTensor) throws -> Memory

  /// A copy of the numbers in the host's memory.
  func download(_ memory: Memory) throws -> HostTensor

  /// The outputs of a program. Inputs that it may take the memory of are gone.
  func run(_ loaded: Loaded, _ inputs: [Memory]) throws -> [Memory]
}

extension Interpreter: ProgramRunner {
  package static var fastestPrecision: ElementType { .float32 }
  package var usesHostMemory: Bool { true }
  package var memoryBytes: Int? { nil }
  package func temporaryBytes(_ program: Program) -> Int { max(0, program.peakBytes - program.argumentBytes) }
  package func load(_ program: Program) -> Program { program }
  package func upload(_ tensor: HostTensor) -> HostTensor { tensor }
  package func download(_ memory: HostTensor) -> HostTensor { memory }
}
