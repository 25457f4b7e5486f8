import Model
import Programs

/// What one replica keeps of a weight's moments and moves of the weight: with several replicas AdamW's work is divided among
/// them, each having an equal part of a weight's numbers in their order, and all get the weights from there (ZeRO stage 1,
/// Rajbhandari et al. 2020, arXiv 1910.02054). Muon takes a matrix as a whole, so every replica computes all of its step.
struct OptimizerShare {
  /// Of the weight.
  private let wholeShape: [Int]
  private let replicas: Int
  /// Whether it is a part, one of as many as there are replicas.
  let isPart: Bool

  init(_ entry: ParameterEntry, _ optimizer: OptimizerKind, replicas: Int) {
    wholeShape = entry.shape
    self.replicas = replicas
    isPart = replicas > 1 && !entry.isMovedByMuon(optimizer)
  }

  private var wholeCount: Int { wholeShape.reduce(1, *) }

  /// How many numbers the replica has. Zeros follow the last one where the parts would differ.
  var count: Int { isPart ? (wholeCount + replicas - 1) / replicas : wholeCount }

  /// Of what the replica has.
  var shape: [Int] { isPart ? [count] : wholeShape }

  // MARK: - In programs

  private func padded(_ tensor: Tensor) -> Tensor {
    let list = tensor.reshaped([wholeCount])
    let missing = replicas * count - wholeCount
    return missing == 0 ? list : .concatenated([list, tensor.builder.constant(0, TensorType(.float32, [missing]))], 0)
  }

  /// The share of the sum of all replicas' gradients.
  func ofSum(_ gradient: Tensor) -> Tensor {
    guard replicas > 1 else { return gradient }
    return isPart ? padded(gradient).exchanged(.partOfSum) : gradient.exchanged(.sum)
  }

  /// The share of the weight.
  func own(_ weight: Tensor) -> Tensor { isPart ? padded(weight).exchanged(.part) : weight }

  /// The weight of which each replica has its share.
  func whole(_ share: Tensor) -> Tensor {
    isPart ? share.exchanged(.all).slice(0, 0..<wholeCount).reshaped(wholeShape) : share
  }

  // MARK: - In the host's memory

  /// The numbers of which each replica has its share.
  ///
  /// - Parameter shares: [replicas].
  func whole(_ shares: [[Float]]) -> [Float] { isPart ? Array(shares.joined().prefix(wholeCount)) : shares[0] }

  /// [replicas] the share of each.
  func shares(of numbers: [Float]) -> [HostTensor] {
    guard isPart else { return [HostTensor](repeating: HostTensor(numbers, wholeShape), count: replicas) }
    let padded = numbers + [Float](repeating: 0, count: replicas * count - wholeCount)
    return (0..<replicas).map { HostTensor(Array(padded[$0 * count..<($0 + 1) * count]), shape) }
  }
}
