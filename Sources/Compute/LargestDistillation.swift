import CKernels
import Foundation
import Model
import VectorMath

/// A row's K largest logits as a teacher's answer: their tokens, in rising order, with the logarithms of their probabilities at a
/// temperature, and that of all other tokens together. Of equal logits the first ones are taken.
///
/// - Parameters:
///   - logits: float32, [vocabulary]; left as they were, and written to in between.
///   - vocabulary: more than `count`.
///   - tokens: [count], overwritten.
///   - logarithms: [count + 1], overwritten; NaN where a logit is.
package func largestProbabilities(
  _ logits: UnsafeMutablePointer<Float>, vocabulary: Int, count: Int, temperature: Double,
  tokens: UnsafeMutablePointer<Int32>, logarithms: UnsafeMutablePointer<Float>
) {
  precondition((1..<vocabulary).contains(count), "the \(count) largest of \(vocabulary)")
  let row = UnsafeBufferPointer(start: logits, count: vocabulary)
  let least = largest(rank: count, of: row.span)
  // Those above the least come first, as far as there is room; then as many that equal it.
  var found = 0
  for index in 0..<vocabulary where row[index] > least && found < count {
    tokens[found] = Int32(index)
    found += 1
  }
  for index in 0..<vocabulary where found < count && !(row[index] > least) && (row[index] == least || row[index].isNaN)
  {
    tokens[found] = Int32(index)
    found += 1
  }
  precondition(found == count, "\(found) of the \(count) largest of \(vocabulary)")
  var rising = UnsafeMutableBufferPointer(start: tokens, count: count)
  rising.sort()
  let division = DividedRow(logits, vocabulary, tokens, count, temperature)
  for place in 0...count { logarithms[place] = Float(division.logarithm(place)) }
}

/// The loss of each row by the K likeliest tokens of a teacher, as `distillationLoss` with all of its logits: over K + 1 outcomes,
/// these tokens and all others together. With s and q the student's and the teacher's probabilities of an outcome and m the
/// mixture of both, T·∂D/∂zᵢ is sᵢ·c of the token's outcome, sᵢ being the token's own probability:
///
///     β = 0        c = 1 - q/s
///     β = 1        c = log(s/q) - D
///     otherwise    c = (1-β)·log(s/m) - Σ s·(1-β)·log(s/m)
///
/// - Parameters:
///   - logits: float32, [rows, vocabulary]; left as they were, unless `dLogits` is the same.
///   - tokens, logarithms: [rows, count] and [rows, count + 1] as `LargestProbabilities` has them; not read where the weight is 0.
///   - targets, lossWeights, losses, crossEntropies, dLogits: as there.
package func distillationLoss(
  _ distillation: Distillation, logits: MatrixView, tokens: UnsafePointer<Int32>, logarithms: UnsafePointer<Float>,
  count: Int, targets: UnsafePointer<Int32>, lossWeights: UnsafePointer<Float>, losses: UnsafeMutablePointer<Float>,
  crossEntropies: UnsafeMutablePointer<Float>, dLogits: MatrixView
) {
  precondition(
    logits.type == .float32 && (1..<logits.columns).contains(count)
      && dLogits.rows == logits.rows && dLogits.columns == logits.columns,
    "logits [\(logits.rows), \(logits.columns)] of type \(logits.type) with \(count) of a teacher's")
  withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { slopes in
    forEachWeightedRow(lossWeights, targets, losses, crossEntropies, dLogits) { row, weight, target in
      let loss = LargestLoss(
        distillation, logits.row(row, of: Float.self), logits.columns, tokens + row * count,
        logarithms + row * (count + 1), count, target: target, weight: weight, slopes: slopes.baseAddress!)
      (losses[row], crossEntropies[row]) = (loss.loss, loss.crossEntropy)
      switch dLogits.type {
      case .float32: loss.gradient(dLogits.row(row, of: Float.self))
      case .bfloat16: loss.gradient(dLogits.row(row, of: BFloat16.self))
      }
    }
  }
}

/// A row's probabilities at a temperature, divided into those of some tokens and that of all others together.
private struct DividedRow {
  let logits: UnsafePointer<Float>
  let tokens: UnsafePointer<Int32>
  let count: Int
  let maximum: Float
  let inverseTemperature: Float
  /// Σ e^((z - maximum)/T) over the other tokens; 0 where it is too small to be of any account.
  let restSum: Double
  /// log Σ of all.
  let logSum: Double

  /// - Parameter logits: left as they were, and written to in between.
  init(
    _ logits: UnsafeMutablePointer<Float>, _ vocabulary: Int, _ tokens: UnsafePointer<Int32>, _ count: Int,
    _ temperature: Double
  ) {
    (self.logits, self.tokens, self.count) = (UnsafePointer(logits), tokens, count)
    let maximum = largest(logits, vocabulary)
    let inverse = Float(1 / temperature)
    (self.maximum, inverseTemperature) = (maximum, inverse)
    var sum = 0.0
    let rest = withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { kept in
      for place in 0..<count {
        let token = Int(tokens[place])
        precondition(token >= 0 && token < vocabulary, "a teacher's token \(token) of \(vocabulary)")
        kept[place] = logits[token]
        sum += exp(Double((logits[token] - maximum) * inverse))
        logits[token] = -.infinity
      }
      let rest = Double(scaledSum(logits, vocabulary, minus: maximum, times: inverse))
      // Backwards, in case a token is there twice.
      for place in (0..<count).reversed() { logits[Int(tokens[place])] = kept[place] }
      return rest
    }
    restSum = rest < 1e-30 ? 0 : rest
    logSum = log(sum + rest)
  }

  /// Of the probability of an outcome: one of the tokens, or at `count` all others, not below -200.
  func logarithm(_ place: Int) -> Double {
    guard place < count else {
      // logSum * 0 is NaN where a logit is.
      return restSum == 0 ? -200 - logSum * 0 : max(-200, log(restSum) - logSum)
    }
    return Double((logits[Int(tokens[place])] - maximum) * inverseTemperature) - logSum
  }
}

/// The loss of one row, and its gradient.
private struct LargestLoss {
  private let row: DividedRow
  private let vocabulary: Int
  private let target: Int
  private let targetLogit: Float
  private let targetWeight: Float
  /// [count] the gradient at the teacher's tokens, without the target's part.
  private let slopes: UnsafeMutablePointer<Float>
  private let textScale, restScale: Float
  let loss, crossEntropy: Float

  init(
    _ distillation: Distillation, _ logits: UnsafeMutablePointer<Float>, _ vocabulary: Int,
    _ tokens: UnsafePointer<Int32>, _ logarithms: UnsafePointer<Float>, _ count: Int, target: Int, weight: Float,
    slopes: UnsafeMutablePointer<Float>
  ) {
    (self.vocabulary, self.target, self.slopes) = (vocabulary, target, slopes)
    let row = DividedRow(logits, vocabulary, tokens, count, distillation.temperature)
    self.row = row
    targetLogit = logits[target]
    let plainSum = exponentialSum(logits, vocabulary, minus: row.maximum)
    crossEntropy = log(plainSum) + (row.maximum - targetLogit)
    let (alpha, beta, temperature) = (distillation.textShare, distillation.mixture, distillation.temperature)

    /// The parts of an outcome in D and in the mean of ∂D/∂s, and log(s/q) or (1-β)·log(s/m).
    func outcome(_ place: Int) -> (s: Double, q: Double, part: Double, mean: Double, slope: Double) {
      let (logS, logQ) = (row.logarithm(place), Double(logarithms[place]))
      let (s, q) = (exp(logS), exp(logQ))
      switch beta {
      case 0: return (s, q, q * (logQ - logS), 0, 0)
      case 1: return (s, q, s * (logS - logQ), s * (logS - logQ), logS - logQ)
      default:
        let logM = log(max(1e-37, (1 - beta) * s + beta * q))
        let slope = (1 - beta) * (logS - logM)
        return (s, q, beta * q * (logQ - logM) + s * slope, s * slope, slope)
      }
    }
    var (divergence, mean) = (0.0, 0.0)
    for place in 0...count {
      let found = outcome(place)
      divergence += found.part
      mean += found.mean
    }
    loss = Float(alpha) * crossEntropy + Float((1 - alpha) * temperature * temperature * divergence)
    let scale = (1 - alpha) * temperature * Double(weight)
    textScale = Float(alpha) * weight / plainSum
    for place in 0..<count {
      let found = outcome(place)
      let text = textScale * exp(logits[Int(tokens[place])] - row.maximum)
      slopes[place] = text + Float(scale * (beta == 0 ? found.s - found.q : found.s * (found.slope - mean)))
    }
    let rest = outcome(count)
    // By which e^((z - maximum)/T) is multiplied.
    restScale =
      row.restSum == 0
      ? 0
      : Float(scale * (beta == 0 ? 1 - rest.q / rest.s : rest.slope - mean) * exp(-row.logSum))
    targetWeight = Float(alpha) * weight
  }

  func gradient<Element: VectorElement>(_ output: UnsafeMutablePointer<Element>) {
    let (logits, maximum, inverse) = (row.logits, row.maximum, row.inverseTemperature)
    @inline(__always) func rest(_ start: Int, _ lanes: Int) -> SIMD16<Float> {
      let z = Float.load(logits + start, lanes) - maximum
      return exponential(z) * textScale + exponential(z * inverse) * restScale
    }
    var atTarget = rest(target, 1)[0]
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      Element.store(rest(start, lanes), to: output + start, lanes)
    }
    forEachSixteen(vocabulary, step)
    for place in 0..<row.count {
      let token = Int(row.tokens[place])
      if token == target { atTarget = slopes[place] }
      Element.store(SIMD16(repeating: slopes[place]), to: output + token, 1)
    }
    Element.store(SIMD16(repeating: atTarget - targetWeight), to: output + target, 1)
  }
}
