import CPJRT
import Programs

/// Compiles programs for a card that need not be there, by the plugin that would run them on it.
package final class PJRTTarget: ProgramMeter {
  package let card: GPUCard
  /// The plugin's version in its own words.
  package let version: String
  /// Lives as long as the process: plugins cannot be unloaded.
  private let target: OpaquePointer
  private let kernels: KernelCompiler?

  /// - Parameter path: the plugin's file.
  /// - Throws: `PJRTError`.
  package init(plugin path: String, card: GPUCard) throws {
    var error = CPError()
    guard let target = cpTarget(path, card.target, &error) else {
      throw PJRTError.cannotOpen(path: path, reason: error.reason)
    }
    var version = CText()
    guard cpTargetVersion(target, &version.characters, &error) != 0 else {
      throw PJRTError("name its version", error)
    }
    (self.card, self.target, self.version) = (card, target, version.text)
    kernels = KernelCompiler(plugin: path)
  }

  package var memoryBytes: Int? { card.memoryBytes }

  /// Whether programs for the card may have `Operation.attention` of such heads.
  package func hasAttentionKernel(headSize: Int, _ element: TensorElement) -> Bool {
    kernels != nil && KernelCompiler.hasKernel(headSize: headSize, element)
  }

  package func temporaryBytes(_ program: Program) throws -> Int {
    let text = try kernels.map { try program.stableHLO(kernel: $0.call) } ?? program.stableHLO
    var (bytes, error) = (Int64(0), CPError())
    guard cpCompileForTarget(target, text, text.utf8.count, &bytes, &error) != 0 else {
      throw PJRTError("compile a program for \(card.kind)", error)
    }
    return Int(bytes)
  }
}

/// Room for a text of C.
struct CText {
  var characters = [CChar](repeating: 0, count: 256)
  var text: String { String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) }
}
