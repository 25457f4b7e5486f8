import Foundation

/// How a rotary embedding is changed so that a model can read sequences longer than those of its training.
package enum RotaryScaling: Sendable, Equatable {
  case none
  /// Every pair turns `factor` times slower, so that positions fall into the trained range; Chen et al. 2023
  /// (arXiv 2306.15595).
  case linear(factor: Double)
  /// Within the trained length nothing changes. A longer sequence gets a larger θ, the larger the longer it is: slow
  /// pairs are slowed down, fast ones hardly; Peng et al. 2023 (arXiv 2309.00071), section 3.3.
  case dynamic(factor: Double)
  case yarn(YaRN)
  case llama3(Llama3Scaling)
}

/// The scaling of Llama 3.1 and later (`rope_type` llama3): fast pairs turn as before, slow ones `factor` times slower, and
/// between them the share of each follows from the turns within the original length.
package struct Llama3Scaling: Sendable, Equatable {
  package var factor: Double
  /// The sequence length of the training before the change.
  package var originalLength: Int
  /// `low_freq_factor`: a pair that makes fewer turns than this within `originalLength` is slowed down by the whole factor.
  package var slowTurns: Double
  /// `high_freq_factor`: a pair that makes more turns than this is left as it is.
  package var fastTurns: Double

  package init(factor: Double, originalLength: Int, slowTurns: Double = 1, fastTurns: Double = 4) {
    self.factor = factor
    self.originalLength = originalLength
    self.slowTurns = slowTurns
    self.fastTurns = fastTurns
  }

  /// What a pair's frequency is multiplied by.
  ///
  /// - Parameter frequency: by how much it turns from one position to the next without scaling.
  package func share(ofFrequency frequency: Double) -> Double {
    let turns = Double(originalLength) * frequency / (2 * .pi)
    let fastness = min(1, max(0, (turns - slowTurns) / (fastTurns - slowTurns)))
    return (1 - fastness) / factor + fastness
  }
}

/// YaRN: fast pairs turn as before, slow ones `factor` times slower, those between are interpolated, and attention
/// becomes sharper; Peng et al. 2023 (arXiv 2309.00071), sections 3.2 and 3.4.
package struct YaRN: Sendable, Equatable {
  package var factor: Double
  /// The sequence length of the training before the change.
  package var originalLength: Int
  /// A pair that makes more turns than this within `originalLength` is left as it is.
  package var fastTurns = 32.0
  /// A pair that makes fewer turns than this is slowed down by the whole factor.
  package var slowTurns = 1.0
  /// What queries and keys are multiplied with.
  package var attentionFactor: Double
  /// Whether the bounds between fast and slow are moved outwards to whole pairs, as the authors' code does.
  package var roundsBounds = true

  package init(factor: Double, originalLength: Int) {
    self.factor = factor
    self.originalLength = originalLength
    attentionFactor = Self.attentionFactor(factor)
  }

  /// The paper's rule: 0.1·ln(factor) + 1.
  ///
  /// - Parameter scale: multiplies the logarithm; 1 in the paper.
  package static func attentionFactor(_ factor: Double, scale: Double = 1) -> Double {
    factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
  }
}

/// The rotary embedding of a model: which angles a position stands for.
package struct RotarySettings: Sendable, Equatable {
  package var headSize: Int
  package var theta: Double
  /// The sequence length that the model was trained for, beyond which `.dynamic` acts.
  package var trainedLength: Int
  package var scaling = RotaryScaling.none

  package init(headSize: Int, theta: Double, trainedLength: Int, scaling: RotaryScaling = .none) {
    self.headSize = headSize
    self.theta = theta
    self.trainedLength = trainedLength
    self.scaling = scaling
  }

  /// Whether the angles of a sequence of `length` tokens differ from those of a shorter one.
  package func dependsOnLength(_ length: Int) -> Bool {
    if case .dynamic = scaling { length > trainedLength } else { false }
  }

  /// What cosines and sines are multiplied with.
  package var amplitude: Double {
    if case .yarn(let yarn) = scaling { yarn.attentionFactor } else { 1 }
  }

  /// [headSize/2] by how much each pair turns from one position to the next, in a sequence of `length` tokens.
  package func frequencies(length: Int) -> [Double] {
    let size = Double(headSize)
    func plain(_ theta: Double) -> [Double] { (0..<headSize / 2).map { pow(theta, -2 * Double($0) / size) } }
    switch scaling {
    case .none: return plain(theta)
    case .linear(let factor): return plain(theta).map { $0 / factor }
    case .dynamic(let factor):
      guard length > trainedLength else { return plain(theta) }
      let growth = factor * Double(length) / Double(trainedLength) - (factor - 1)
      return plain(theta * pow(growth, size / (size - 2)))
    case .llama3(let llama3): return plain(theta).map { $0 * llama3.share(ofFrequency: $0) }
    case .yarn(let yarn):
      let (fast, slow) = bounds(yarn)
      return plain(theta).enumerated().map { pair, frequency in
        // 0 for fast pairs, 1 for slow ones; where the bounds are one, the step lies just after it.
        let slowness = min(1, max(0, (Double(pair) - fast) / (slow == fast ? 0.001 : slow - fast)))
        return frequency * (1 - slowness) + frequency / yarn.factor * slowness
      }
    }
  }

  /// The pairs where the fast ones of a head end, and where the slow ones begin.
  private func bounds(_ yarn: YaRN) -> (fast: Double, slow: Double) {
    // Pair i turns originalLength·θ^(-2i/d)/2π times; solved for i.
    func pair(turns: Double) -> Double {
      Double(headSize) * log(Double(yarn.originalLength) / (turns * 2 * .pi)) / (2 * log(theta))
    }
    var (fast, slow) = (pair(turns: yarn.fastTurns), pair(turns: yarn.slowTurns))
    if yarn.roundsBounds { (fast, slow) = (fast.rounded(.down), slow.rounded(.up)) }
    return (max(fast, 0), min(slow, Double(headSize - 1)))
  }
}
