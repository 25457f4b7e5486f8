import Foundation
import Storage

/// Sends a run's metrics to Weights & Biases, through its own Python package in a process beside this one.
///
/// A session that resumes a run goes on with its curve there. Where the network is slow lines wait here; where the other
/// process has ended they are dropped, since a run is worth more than its picture. The package says on standard error what
/// it thinks of it all.
package final class WeightsAndBiases: MetricsSink {
  private let process = Process()
  private let input = Pipe()
  private var unsent: [UInt8] = []
  private var isBroken = false

  /// - Throws: `TrainingError` when Python or the package is missing. Tells it early, before there is a run.
  package static func checkIsInstalled() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [
      "python3", "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('wandb') is None)",
    ]
    process.standardInput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { throw missing }
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw missing }
  }

  private static let missing = TrainingError(
    "--wandb needs python3 with the package wandb, which is not there. Install it (pip install wandb), put that python3 "
      + "first in PATH, or leave --wandb out.")

  /// Opens the run there.
  ///
  /// - Throws: `TrainingError` when that fails.
  package init(project: String, run: RunDirectory, record: RunRecord) throws {
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-c", String(decoding: PackageResources.wandb_bridge_py, as: UTF8.self)]
    process.standardInput = input
    let output = Pipe()
    process.standardOutput = output
    guard (try? process.run()) != nil else { throw Self.missing }
    let about = JSON.object([
      .init("project", .string(project)), .init("name", .string((run.path as NSString).lastPathComponent)),
      .init("id", .string(try Self.identifier(of: run))), .init("directory", .string(run.path)),
      .init("config", record.json), .init("step", .string(Metric.step.key)),
    ])
    send(about.compactText)
    guard Self.line(of: output.fileHandleForReading.fileDescriptor) == "ready" else {
      process.terminate()
      throw TrainingError(
        "Weights & Biases did not open the run; its own message is above. Log in (wandb login), set WANDB_MODE=offline, "
          + "or leave --wandb out.")
    }
    let descriptor = input.fileHandleForWriting.fileDescriptor
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
  }

  /// The first line that comes, or what there is of it when no more comes.
  private static func line(of descriptor: Int32) -> String {
    var bytes: [UInt8] = []
    var byte: UInt8 = 0
    while bytes.last != 0x0A {
      let count = read(descriptor, &byte, 1)
      if count == 1 { bytes.append(byte) } else if count == 0 || errno != EINTR { break }
    }
    return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  package func record(_ event: TrainingEvent) throws {
    if let line = event.metricsLine { send(line) }
  }

  /// Sends what is left and waits until the package is done with it.
  package func finish() {
    let descriptor = input.fileHandleForWriting.fileDescriptor
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
    flush()
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  private func send(_ line: String) {
    guard !isBroken else { return }
    unsent += Array((line + "\n").utf8)
    flush()
  }

  /// Sends what the pipe takes.
  private func flush() {
    while !unsent.isEmpty && !isBroken {
      let count = unsent.withUnsafeBytes {
        Foundation.write(input.fileHandleForWriting.fileDescriptor, $0.baseAddress, $0.count)
      }
      if count > 0 {
        unsent.removeFirst(count)
      } else if errno == EAGAIN {
        return
      } else if errno != EINTR {
        isBroken = true
      }
    }
  }

  /// The name of the run there, chosen once and kept in its directory.
  private static func identifier(of run: RunDirectory) throws -> String {
    let path = run.path + "/wandb-id"
    let kept = try GrowingFile.text(of: path).trimmingCharacters(in: .whitespacesAndNewlines)
    if !kept.isEmpty { return kept }
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    let identifier = String((0..<8).map { _ in letters.randomElement()! })
    try AtomicFile.write(identifier + "\n", to: path)
    return identifier
  }
}
