import CPJRT
import Foundation
import Programs
import Storage
import Synchronization

/// Makes kernels of `attention.cu` for the programs of a plugin for NVIDIA's GPUs, by the compiler that its packages have (NVRTC).
final class KernelCompiler: Sendable {
  /// NVRTC's file.
  private let library: String
  private let made = Mutex<[Kernel: KernelCall]>([:])

  private struct Kernel: Hashable {
    var pass: AttentionPass
    var shape: AttentionShape
  }

  /// The compiler beside a plugin's file; nil where there is none.
  init?(plugin path: String) {
    let packages = parentDirectory(of: parentDirectory(of: parentDirectory(of: path)))
    let files = ["cu13/lib/libnvrtc.so.13", "cuda_nvrtc/lib/libnvrtc.so.12"].map { "\(packages)/nvidia/\($0)" }
    guard let file = files.first(where: FileManager.default.fileExists) else { return nil }
    library = file
  }

  static let source = String(decoding: PackageResources.attention_cu, as: UTF8.self)

  /// Whether tiles of such heads have room in the 48 KiB of shared memory that every card gives a block.
  static func hasKernel(headSize: Int, _ element: TensorElement) -> Bool {
    headSize % 16 == 0 && headSize <= (element == .bfloat16 ? 128 : 96)
  }

  /// - Throws: `PJRTError`.
  func call(_ pass: AttentionPass, _ shape: AttentionShape) throws(PJRTError) -> KernelCall {
    let kernel = Kernel(pass: pass, shape: shape)
    if let known = made.withLock({ $0[kernel] }) { return known }
    // As `attention.cu` says of ROWS.
    let warps = shape.element == .float32 ? 1 : shape.size <= 96 ? 4 : 2
    let (name, number, heads) =
      switch pass {
      case .forward: ("attention_forward", 0, shape.heads)
      case .queries: ("attention_queries", 1, shape.heads)
      case .keysAndValues: ("attention_keys_values", 2, shape.groups)
      }
    let call = KernelCall(
      name: name, ptx: try ptx(shape, number), columns: (shape.tokens + 16 * warps - 1) / (16 * warps), rows: heads,
      threads: 32 * warps)
    made.withLock { $0[kernel] = call }
    return call
  }

  private func ptx(_ shape: AttentionShape, _ pass: Int) throws(PJRTError) -> String {
    let numbers = [
      ("PASS", "\(pass)"), ("TOKENS", "\(shape.tokens)"), ("HEADS", "\(shape.heads)"), ("GROUPS", "\(shape.groups)"),
      ("SIZE", "\(shape.size)"), ("SCALE", "\(1 / Float(shape.size).squareRoot())f"),
      ("FLOAT32", shape.element == .float32 ? "1" : "0"),
    ]
    // The first architecture with these instructions: the driver compiles PTX for later ones too.
    let options = ["--gpu-architecture=compute_80", "--std=c++17"] + numbers.map { "-D\($0)=\($1)" }
    var error = CPError()
    let pointers = options.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    let text = cpCompileKernel(library, Self.source, pointers.map { UnsafePointer($0) }, Int32(options.count), &error)
    guard let text else { throw PJRTError("compile the kernel of attention", error) }
    defer { cpFreeText(text) }
    return Self.readable(String(cString: text))
  }

  /// PTX that older drivers read, too: a compiler declares its text to be of its own version, and 7.0 (CUDA 11) has all that is
  /// used. Without comments and indentation.
  private static func readable(_ ptx: String) -> String {
    ptx.split(separator: "\n").map { $0.drop { $0 == "\t" || $0 == " " } }.filter { !$0.isEmpty && !$0.hasPrefix("//") }
      .map { $0.hasPrefix(".version") ? ".version 7.0" : String($0) }
      .joined(separator: "\n") + "\n"
  }
}
