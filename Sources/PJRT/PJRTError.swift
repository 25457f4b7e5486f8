import CPJRT

/// Why a device's plugin cannot be used, or what it could not do.
package enum PJRTError: Error, Equatable, CustomStringConvertible {
  /// - Parameter searched: the places where a plugin could have been.
  case noPlugin(searched: [String])
  case cannotOpen(path: String, reason: String)
  case devices(found: Int, asked: Int)
  case outOfMemory(reason: String)
  case failed(step: String, reason: String)

  package var description: String {
    switch self {
    case .noPlugin(let searched):
      "no plugin for a GPU was found in \(searched.joined(separator: ", ")). Install JAX for it "
        + "(pip install 'jax[cuda13]'), or name a plugin of PJRT in MINIMIND_PJRT_PLUGIN."
    case .cannotOpen(let path, let reason):
      "the plugin \(path) cannot be used: \(reason). Check that the GPU's driver is installed and new enough, or name "
        + "another plugin in MINIMIND_PJRT_PLUGIN."
    case .devices(let found, let asked):
      "--devices \(asked): the plugin has \(found == 1 ? "one device" : "\(found) devices")."
    case .outOfMemory(let reason):
      "the device has not enough memory (\(reason)). Choose a smaller --micro-batch-tokens, or --recompute-activations."
    case .failed(let step, let reason): "the device's plugin could not \(step): \(reason)."
    }
  }

  init(_ step: String, _ error: CPError) {
    let reason = error.reason
    self =
      error.code == Int32(cpResourceExhausted) ? .outOfMemory(reason: reason) : .failed(step: step, reason: reason)
  }
}

extension CPError {
  /// The first line of what the plugin says, without its full stop.
  var reason: String {
    let line = text.split(separator: "\n").first ?? "code \(code)"
    return String(line.hasSuffix(".") ? line.dropLast() : line)
  }

  /// What the plugin says.
  var text: String {
    withUnsafeBytes(of: message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
