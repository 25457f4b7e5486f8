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
  private let processor: CPUEngineProvider

  var team: WorkerTeam { processor.team }

  /// - Throws: `PJRTError` for a device that is not there.
  init(_ device: TrainingDevice, threads: Int) throws {
    processor = CPUEngineProvider(threads: threads)
    switch device {
    case .cpu:
      provider = processor
      self.device = nil
    case .gpu:
      let runner = try PJRTRunner(plugin: try PJRTPlugin.find(), cache: .ofUser)
      provider = ProgramEngineProvider(runner) { error in
        try? Console.standardError.print("error: \(error)")
        exit(1)
      }
      self.device = runner.description
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
  /// "NVIDIA H200 (105 GiB for programs), the first of 8, by PJRT 0.116, cuda".
  var description: String {
    devices[0].kind + (devices[0].memory.map { " (\(formatBytes($0)) for programs)" } ?? "")
      + (devices.count > 1 ? ", the first of \(devices.count)," : "") + " by PJRT 0.\(minorVersion), \(platform)"
  }
}
