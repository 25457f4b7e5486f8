import CPUEngine
import Compute
import Foundation
import Model
import PJRT
import Processes
import ProgramEngine
import Storage
import Training

/// The engines of a run's device, and the threads of the processor, which writes its samples wherever it trains.
struct TrainingEngines {
  let provider: any TrainingEngineProvider
  /// The device and what makes it run, for the panel; nil for the processor.
  let device: String?
  /// The same for the record of a run, with the plugin's version.
  let recordedDevice: String?
  /// What the device calls itself; nil for the processor.
  let kind: String?
  /// Nil for the processor.
  let runner: PJRTRunner?
  private let processor: CPUEngineProvider

  var team: WorkerTeam { processor.team }

  /// - Throws: why the device has failed, if it has.
  func check() throws { if let failure = provider.failure { throw failure } }

  /// - Parameter count: of the device's kind, to share the work.
  /// - Throws: `PJRTError` for a device that is not there, `TrainingError` for several processors.
  init(_ device: TrainingDevice, count: Int = 1, threads: Int) throws {
    processor = CPUEngineProvider(threads: threads)
    switch device {
    case .cpu:
      guard count == 1 else {
        throw TrainingError(
          "--devices \(count) is for GPUs. Add --device gpu, or leave it out: several processes share the work by mpirun."
        )
      }
      provider = processor
      (self.device, recordedDevice, kind, runner) = (nil, nil, nil, nil)
    case .gpu:
      Self.shareCards(count)
      let runner = try PJRTRunner(plugin: try PJRTPlugin.find(), cache: .ofUser, replicas: count)
      provider = ProgramEngineProvider(runner)
      (self.device, recordedDevice, kind) = (runner.description, runner.identity, runner.devices[0].kind)
      self.runner = runner
    }
  }
}

extension TrainingEngines {
  /// Gives each process of a machine its own NVIDIA cards, unless the user has: a plugin takes the memory of all that it sees.
  private static func shareCards(_ count: Int) {
    guard let processes = Launcher.localCount, processes > 1, let rank = Launcher.localRank else { return }
    setenv("CUDA_VISIBLE_DEVICES", (rank * count..<(rank + 1) * count).map(String.init).joined(separator: ","), 0)
  }
}

extension TrainingDevice {
  /// The kind of its engines, which says what they compute fastest.
  var engines: any TrainingEngineProvider.Type {
    switch self {
    case .cpu: CPUEngineProvider.self
    case .gpu: ProgramEngineProvider<PJRTRunner>.self
    }
  }
}

extension PJRTRunner {
  /// What decides a run's bits: "NVIDIA H200 by PJRT 0.116, cuda, …" with the plugin's own words.
  fileprivate var identity: String {
    let words = version.split(whereSeparator: \.isNewline).joined(separator: ", ")
    return (replicas > 1 ? "\(replicas) × " : "")
      + "\(devices[0].kind) by PJRT 0.\(minorVersion), \(platform), \(words)"
  }

  /// "NVIDIA H200 (105 GiB for programs), the first of 8, by PJRT 0.116, cuda"; or "4 × NVIDIA H200 (105 GiB for programs
  /// each), the first of 8, …".
  var description: String {
    let memory = devices[0].memory.map { " (\(formatBytes($0)) for programs\(replicas > 1 ? " each" : ""))" } ?? ""
    return (replicas > 1 ? "\(replicas) × " : "") + devices[0].kind + memory
      + (devices.count > replicas ? ", the first of \(devices.count)," : "") + " by PJRT 0.\(minorVersion), \(platform)"
  }
}
