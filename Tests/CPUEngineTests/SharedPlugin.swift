import Foundation
import PJRT

/// The device of the plugin that `MINIMIND_PJRT_PLUGIN` names, opened once.
enum SharedPlugin {
  /// Nil without that variable. Tests that run at the same time share it.
  nonisolated(unsafe) static let runner: PJRTRunner? =
    ProcessInfo.processInfo.environment[PJRTPlugin.variable].map { path in
      do { return try PJRTRunner(plugin: path, cache: nil) } catch { fatalError("\(error)") }
    }
  /// Two devices of it; nil where it has one.
  nonisolated(unsafe) static let pair: PJRTRunner? =
    runner.flatMap { found in
      guard found.devices.count > 1, let path = ProcessInfo.processInfo.environment[PJRTPlugin.variable] else {
        return nil
      }
      do { return try PJRTRunner(plugin: path, cache: nil, replicas: 2) } catch { fatalError("\(error)") }
    }
}
