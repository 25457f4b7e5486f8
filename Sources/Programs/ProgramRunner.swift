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

  /// How many devices run each program, whose replicas they are.
  var replicas: Int { get }

  /// Whether what it keeps is in the memory of the host.
  var usesHostMemory: Bool { get }

  /// Makes a program ready to be run many times.
  func load(_ program: Program) throws -> Loaded

  /// A copy of the numbers in the memory of each device.
  ///
  /// - Parameter tensors: [replicas] of one type.
  func upload(_ tensors: [HostTensor]) throws -> Memory

  /// A copy of one device's numbers in the host's memory.
  func download(_ memory: Memory, replica: Int) throws -> HostTensor

  /// Whether to use the device's kernel for `Operation.attention`; nil where it has none.
  ///
  /// - Parameter trial: tries it. Asked for once for each shape, device and version of the plugin.
  func attentionVerdict(_ shape: AttentionShape, trial: () throws -> AttentionVerdict) -> AttentionVerdict?

  /// The outputs of a program. Inputs that it may take the memory of are gone.
  func run(_ loaded: Loaded, _ inputs: [Memory]) throws -> [Memory]
}

extension ProgramRunner {
  package func attentionVerdict(_ shape: AttentionShape, trial: () throws -> AttentionVerdict) -> AttentionVerdict? {
    nil
  }

  /// A copy of the same numbers in the memory of each device.
  package func upload(_ tensor: HostTensor) throws -> Memory {
    try upload([HostTensor](repeating: tensor, count: replicas))
  }

  /// A copy of numbers that all devices have.
  package func download(_ memory: Memory) throws -> HostTensor { try download(memory, replica: 0) }
}

extension Interpreter: ProgramRunner {
  package static var fastestPrecision: ElementType { .float32 }
  package var usesHostMemory: Bool { true }
  package var memoryBytes: Int? { nil }
  package func temporaryBytes(_ program: Program) -> Int { max(0, program.peakBytes - program.argumentBytes) }
  package func load(_ program: Program) -> Program { program }
  package func upload(_ tensors: [HostTensor]) -> [HostTensor] { tensors }
  package func download(_ memory: [HostTensor], replica: Int) -> HostTensor { memory[replica] }
}
