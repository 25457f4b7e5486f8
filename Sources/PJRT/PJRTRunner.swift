import CPJRT
import Foundation
import Model
import Programs
import Storage
import Synchronization

/// Runs programs on the first devices of a PJRT plugin, which compiles them: GPUs, or processors in tests.
package final class PJRTRunner: ProgramRunner {
  package static var fastestPrecision: ElementType { .bfloat16 }

  /// What a plugin finds.
  package struct Device: Equatable, Sendable {
    /// Such as "NVIDIA H200".
    package var kind: String
    /// Bytes, as far as the plugin lets programs have them; nil if it does not say.
    package var memory: Int?
  }

  /// A program that is compiled. Any thread may run it; plugins allow that.
  package final class Loaded: @unchecked Sendable {
    fileprivate let executable: OpaquePointer
    fileprivate let outputTypes: [TensorType]

    fileprivate init(_ executable: OpaquePointer, _ outputTypes: [TensorType]) {
      self.executable = executable
      self.outputTypes = outputTypes
    }

    deinit { cpFreeExecutable(executable) }
  }

  /// A tensor on each of the devices.
  package final class Memory {
    /// [replicas]
    fileprivate let buffers: [OpaquePointer]
    fileprivate let type: TensorType
    /// Keeps the device open.
    private let runner: PJRTRunner

    fileprivate init(_ buffers: [OpaquePointer], _ type: TensorType, _ runner: PJRTRunner) {
      self.buffers = buffers
      self.type = type
      self.runner = runner
    }

    deinit { for buffer in buffers { cpFreeBuffer(runner.client, buffer) } }
  }

  /// Such as "cuda", and the plugin's version in its own words.
  package let platform, version: String
  /// The interface's version: 0.`minor`.
  package let minorVersion: Int
  package let devices: [Device]
  /// How many of the devices programs run on.
  package let replicas: Int
  /// Lives as long as the process: plugins cannot be unloaded.
  private let client: OpaquePointer
  private let cache: ProgramCache?
  /// Nil where the plugin calls no kernels, or nothing compiles them.
  private let kernels: KernelCompiler?
  private let verdicts: AttentionVerdicts
  /// By their keys: a run asks what its programs take before it has an engine, and DPO's reference has some of them too.
  private let loaded = Mutex<[String: Loaded]>([:])
  /// Held while a program runs on several devices: of two at the same time each could hold a device that the other waits for.
  private let turn = Mutex(())

  /// - Parameters:
  ///   - path: the plugin's file.
  ///   - cache: where compiled programs are kept; nil for nowhere.
  ///   - replicas: how many devices to use.
  /// - Throws: `PJRTError`.
  package init(plugin path: String, cache: ProgramCache?, replicas: Int = 1) throws {
    var error = CPError()
    guard let client = cpOpen(path, &error) else { throw PJRTError.cannotOpen(path: path, reason: error.reason) }
    var (name, version) = (CText(), CText())
    guard cpPlatform(client, &name.characters, &version.characters, &error) != 0 else {
      throw PJRTError("name its platform", error)
    }
    var devices: [Device] = []
    for device in 0..<cpDeviceCount(client) {
      var (kind, memory) = (CText(), Int64(0))
      guard cpDevice(client, device, &kind.characters, &memory, &error) != 0 else {
        throw PJRTError("describe its devices", error)
      }
      devices.append(Device(kind: kind.text, memory: memory > 0 ? Int(memory) : nil))
    }
    guard (1...min(devices.count, Int(cpMostReplicas))).contains(replicas) else {
      throw PJRTError.devices(found: devices.count, asked: replicas)
    }
    self.client = client
    self.cache = cache
    verdicts = AttentionVerdicts(cache: cache)
    self.replicas = replicas
    (platform, self.version, self.devices) = (name.text, version.text, devices)
    kernels = name.text == "cuda" ? KernelCompiler(plugin: path) : nil
    minorVersion = Int(cpMinorVersion(client))
  }

  package var usesHostMemory: Bool { platform == "cpu" }

  package var memoryBytes: Int? { devices[0].memory }

  // MARK: - Programs

  package func load(_ program: Program) throws -> Loaded {
    let text = try kernels.map { try program.stableHLO(kernel: $0.call) } ?? program.stableHLO
    let key = cacheKey(text)
    if let known = loaded.withLock({ $0[key] }) { return known }
    let made = try make(program, text, key)
    loaded.withLock { $0[key] = made }
    return made
  }

  private func make(_ program: Program, _ text: String, _ key: String) throws -> Loaded {
    var error = CPError()
    // What another plugin's version left is refused and compiled again.
    if let data = cache?.read(key),
      let executable = data.withUnsafeBytes({ cpLoad(client, $0.baseAddress!, $0.count, &error) })
    {
      return Loaded(executable, program.outputTypes)
    }
    guard let executable = cpCompile(client, text, text.utf8.count, Int32(replicas), &error) else {
      throw PJRTError("compile a program", error)
    }
    let loaded = Loaded(executable, program.outputTypes)
    // A plugin that cannot write its programs, or a full disk, costs time and nothing else.
    if let cache, let data = serialized(loaded) { try? cache.write(key, data) }
    return loaded
  }

  /// A program's text, and all that decides what it is compiled to.
  private func cacheKey(_ text: String) -> String {
    let flags = ProcessInfo.processInfo.environment["XLA_FLAGS"] ?? ""
    let source = [platform, version, "\(minorVersion)", devices[0].kind, "\(replicas)", flags, text]
      .joined(separator: "\n")
    return Array(source.utf8).withUnsafeBytes { SHA256.hexadecimalDigest($0) }
  }

  package func attentionVerdict(_ shape: AttentionShape, trial: () throws -> AttentionVerdict) -> AttentionVerdict? {
    guard platform == "cuda" else { return nil }
    guard kernels != nil else { return .fails(reason: "there is no NVRTC among the plugin's packages") }
    guard KernelCompiler.hasKernel(headSize: shape.size, shape.element) else {
      return .fails(reason: "it is not for heads of \(shape.size) numbers in \(shape.element.rawValue)")
    }
    let cards = ProcessInfo.processInfo.environment["CUDA_VISIBLE_DEVICES"] ?? ""
    return verdicts.verdict(cacheKey("\(cards)\n\(shape)\n\(KernelCompiler.source)"), trial: trial)
  }

  private func serialized(_ loaded: Loaded) -> Data? {
    var (data, error) = (Data(), CPError())
    let isDone = withUnsafeMutablePointer(to: &data) { target in
      cpSerialize(
        loaded.executable, target,
        { context, bytes, count in
          context!.assumingMemoryBound(to: Data.self).pointee.append(
            bytes.assumingMemoryBound(to: UInt8.self), count: count)
        }, &error)
    }
    return isDone != 0 ? data : nil
  }

  package func temporaryBytes(_ program: Program) throws -> Int {
    var (bytes, error) = (Int64(0), CPError())
    guard cpTemporaryBytes(try load(program).executable, &bytes, &error) != 0 else {
      throw PJRTError("say how much memory a program takes", error)
    }
    return Int(bytes)
  }

  package func run(_ loaded: Loaded, _ inputs: [Memory]) throws -> [Memory] {
    var error = CPError()
    let buffers: [OpaquePointer?] = (0..<replicas).flatMap { replica in inputs.map { $0.buffers[replica] } }
    let count = loaded.outputTypes.count
    var outputs = [OpaquePointer?](repeating: nil, count: replicas * count)
    func run() -> Bool {
      cpRun(loaded.executable, Int32(replicas), buffers, inputs.count, &outputs, count, &error) != 0
    }
    guard replicas == 1 ? run() : turn.withLock({ _ in run() }) else { throw PJRTError("run a program", error) }
    return loaded.outputTypes.enumerated().map { place, type in
      Memory((0..<replicas).map { outputs[$0 * count + place]! }, type, self)
    }
  }

  // MARK: - Numbers

  package func upload(_ tensors: [HostTensor]) throws -> Memory {
    var buffers: [OpaquePointer] = []
    do {
      for (device, tensor) in tensors.enumerated() { buffers.append(try upload(tensor, device)) }
    } catch {
      for buffer in buffers { cpFreeBuffer(client, buffer) }
      throw error
    }
    return Memory(buffers, tensors[0].type, self)
  }

  private func upload(_ tensor: HostTensor, _ device: Int) throws -> OpaquePointer {
    let shape = tensor.type.shape.map(Int64.init)
    var error = CPError()
    func copy<Number>(_ numbers: [Number]) throws -> OpaquePointer {
      let buffer = numbers.withUnsafeBytes {
        cpUpload(
          client, Int32(device), $0.baseAddress!, tensor.type.element.pjrtType, shape, shape.count, &error)
      }
      guard let buffer else { throw PJRTError("copy numbers to the device", error) }
      return buffer
    }
    switch tensor.values {
    case .floats(let numbers):
      return tensor.type.element == .bfloat16 ? try copy(numbers.map { BFloat16($0).bitPattern }) : try copy(numbers)
    case .integers(let numbers): return try copy(numbers)
    case .booleans(let numbers): return try copy(numbers)
    }
  }

  package func download(_ memory: Memory, replica: Int) throws -> HostTensor {
    var error = CPError()
    func copy<Number>(_ zero: Number) throws -> [Number] {
      var numbers = [Number](repeating: zero, count: memory.type.count)
      let isDone = numbers.withUnsafeMutableBytes {
        cpDownload(client, memory.buffers[replica], $0.baseAddress!, $0.count, &error)
      }
      guard isDone != 0 else { throw PJRTError("copy numbers from the device", error) }
      return numbers
    }
    let values: HostTensor.Values =
      switch memory.type.element {
      case .float32: .floats(try copy(Float(0)))
      case .bfloat16: .floats(try copy(UInt16(0)).map { BFloat16(bitPattern: $0).float })
      case .int32: .integers(try copy(Int32(0)))
      // A byte of 0 or 1 each.
      case .boolean: .booleans(try copy(UInt8(0)).map { $0 != 0 })
      }
    return HostTensor(memory.type, values)
  }
}

extension TensorElement {
  /// By PJRT's numbers.
  fileprivate var pjrtType: Int32 {
    switch self {
    case .float32: Int32(cpFloat32)
    case .bfloat16: Int32(cpBFloat16)
    case .int32: Int32(cpInt32)
    case .boolean: Int32(cpBoolean)
    }
  }
}
