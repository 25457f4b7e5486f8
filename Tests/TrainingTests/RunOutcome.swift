import Foundation

/// Weights, moments and metrics of a run's last checkpoint. Times differ, of course.
struct RunOutcome: Equatable {
  var weights: Data
  var moments: Data
  var losses: [String]

  init(_ path: String, step: Int) throws {
    let checkpoint = "\(path)/checkpoints/step-\(step)"
    let model = checkpoint + "/model/"
    let adapter = model + "adapter_model.safetensors"
    weights = try bytes(FileManager.default.fileExists(atPath: adapter) ? adapter : model + "model.safetensors")
    moments = try bytes(checkpoint + "/optimizer.safetensors")
    losses = try text(path + "/metrics.jsonl").split(separator: "\n").map { line in
      // "train/tokens" is the last number that is the same in every run.
      String(line[..<(line.range(of: ",\"train/tokens_per_second\"")?.lowerBound ?? line.endIndex)])
    }
  }
}
