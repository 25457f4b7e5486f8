import Foundation
import PJRT

/// The device of the plugin that `MINIMIND_PJRT_PLUGIN` names, opened once.
enum SharedPlugin {
  /// Nil without that variable. Tests that run at the same time share it.
  nonisolated(unsafe) static let runner: PJRTRunner? =
    ProcessInfo.processInfo.environment[PJRTPlugin.variable].map { path in
      do { return try PJRTRunner(plugin: path, cache: nil) } catch { fatalError("\(error)") }
    }
}
