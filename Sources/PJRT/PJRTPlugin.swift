import Foundation

/// Where plugins are.
package enum PJRTPlugin {
  /// The variable that names a plugin's file.
  package static let variable = "MINIMIND_PJRT_PLUGIN"

  /// The file of the plugin to use: what `MINIMIND_PJRT_PLUGIN` names, or NVIDIA's of an installed JAX.
  ///
  /// - Throws: `PJRTError.noPlugin`.
  package static func find(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(PJRTError) -> String {
    if let path = environment[variable], !path.isEmpty { return path }
    let folders = packageFolders(environment)
    for folder in folders {
      for version in ["xla_cuda13", "xla_cuda12"] {
        let path = "\(folder)/jax_plugins/\(version)/xla_cuda_plugin.so"
        if FileManager.default.fileExists(atPath: path) { return path }
      }
    }
    throw .noPlugin(searched: folders.isEmpty ? ["no installed Python"] : folders)
  }

  /// The folders in which Python has packages: of the environment that is active, of the user, of the system.
  private static func packageFolders(_ environment: [String: String]) -> [String] {
    var roots: [String] = []
    if let active = environment["VIRTUAL_ENV"] { roots.append(active + "/lib") }
    if let home = environment["HOME"] { roots.append(home + "/.local/lib") }
    roots += ["/usr/local/lib", "/usr/lib"]
    return roots.flatMap { root in
      let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
      return versions.filter { $0.hasPrefix("python3") }.sorted(by: >).flatMap { version in
        ["site-packages", "dist-packages"].map { "\(root)/\(version)/\($0)" }
      }
    }.filter { FileManager.default.fileExists(atPath: $0) }
  }
}
