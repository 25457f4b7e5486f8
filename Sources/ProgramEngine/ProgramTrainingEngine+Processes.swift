import Machine
import Model
import Programs

/// Several processes, each with its devices: the gradients of a batch come to the host's memory once, where the exchange adds them up;
/// each process moves its weights on its devices, and they get the others' from there.
extension ProgramTrainingEngine {
  /// What the exchange reads and writes in the host's memory.
  final class Exchanged {
    let gradients, weights: ParameterBlock
    /// Whether the gradients are here: those of this process, or what the exchange has made of them.
    var hasGradients = false

    /// - Throws: `OutOfMemoryError`.
    init(_ trained: ParameterTable) throws {
      gradients = try ParameterBlock(zeroed: trained)
      weights = try ParameterBlock(zeroed: trained)
    }
  }

  private var shared: Exchanged {
    guard let exchanged else { preconditionFailure("an engine of one process") }
    return exchanged
  }

  private var partition: RankPartition { programs.model.partition }

  /// The gradients of all layers are complete at the end only.
  package var units: [[[Range<Int>]]] { [parts] }
  package var parts: [[Range<Int>]] { partition.parts }

  package var gradientBuffer: AlignedBuffer {
    if !shared.hasGradients {
      shared.hasGradients = true
      let sums = device.attempt {
        if runner.replicas > 1 && summedGradients == nil { try sumGradients() }
        return summedGradients ?? gradients
      }
      for (place, entry) in trained.entries.enumerated() {
        shared.gradients.write(numbers(entry) { try whole(sums![place], entry) }, to: entry)
      }
    }
    return shared.gradients.buffer
  }

  package var weightBuffer: AlignedBuffer { shared.weights.buffer }

  /// Puts the weights that this process moves where the exchange takes them from; none of them is a number after a failure.
  func offerWeights() {
    guard let exchanged else { return }
    for entry in programs.model.moved { exchanged.weights.write(read(.weights, of: entry), to: entry) }
  }

  package func weightsChanged() {
    device.attempt {
      for (place, entry) in trained.entries.enumerated() where !programs.model.moved.contains(entry) {
        weights[place] = try runner.upload(HostTensor(shared.weights.read(entry), entry.shape))
      }
    }
  }

  /// [entries]
  package func gradientSquares() -> [Double] {
    trained.entries.map { entry in
      guard programs.model.moved.contains(entry) else { return 0 }
      return shared.gradients.read(entry).reduce(0) { $0 + Double($1) * Double($1) }
    }
  }

  package func owners(of entry: ParameterEntry) -> [(rank: Int, count: Int)] {
    [(partition.rank(of: entry), entry.count)]
  }
}
