import CPUEngine
import Compute
import Foundation
import Model
import PJRT
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
  private let processor: CPUEngineProvider

  var team: WorkerTeam { processor.team }

  /// - Throws: why the device has failed, if it has.
  func check() throws { if let failure = provider.failure { throw failure } }

  /// - Throws: `PJRTError` for a device that is not there.
  init(_ device: TrainingDevice, threads: Int) throws {
    processor = CPUEngineProvider(threads: threads)
    switch device {
    case .cpu:
      provider = processor
      (self.device, recordedDevice, kind) = (nil, nil, nil)
    case .gpu:
      let runner = try PJRTRunner(plugin: try PJRTPlugin.find(), cache: .ofUser)
      provider = ProgramEngineProvider(runner)
      (self.device, recordedDevice, kind) = (runner.description, runner.identity, runner.devices[0].kind)
    }
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
    return "\(devices[0].kind) by PJRT 0.\(minorVersion), \(platform), \(words)"
  }

  /// "NVIDIA H200 (105 GiB for programs), the first of 8, by PJRT 0.116, cuda".
  var description: String {
    devices[0].kind + (devices[0].memory.map { " (\(formatBytes($0)) for programs)" } ?? "")
      + (devices.count > 1 ? ", the first of \(devices.count)," : "") + " by PJRT 0.\(minorVersion), \(platform)"
  }
}
