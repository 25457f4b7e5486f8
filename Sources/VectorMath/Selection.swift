import CKernels
import Foundation

/// The largest of `values`, NaN passed over; -∞ when there is none.
package func largest(_ values: Span<Float>) -> Float {
  values.withUnsafeBufferPointer { values in
    guard let base = values.baseAddress else { return -.infinity }
    return largest(base, values.count)
  }
}

/// The largest of `count` numbers, whatever NaN among them.
package func largest(_ z: UnsafePointer<Float>, _ count: Int) -> Float {
  var a = SIMD16<Float>(repeating: -.infinity)
  var b = a
  var start = 0
  while start &+ 32 <= count {
    a = ckMaximum(ckLoadFloats(z + start, 16), a)
    b = ckMaximum(ckLoadFloats(z + start + 16, 16), b)
    start &+= 32
  }
  while start < count {
    let lanes = min(16, count &- start)
    a = ckMaximum(ckLoadFloatsOr(z + start, lanes, -.infinity), a)
    start &+= 16
  }
  return ckLargest(ckMaximum(a, b))
}

/// Σ e^(z - maximum)
package func exponentialSum(_ z: UnsafePointer<Float>, _ count: Int, minus maximum: Float) -> Float {
  var sums = FourSums()
  @inline(__always) func step(_ start: Int, _ lanes: Int, _ sum: inout SIMD16<Float>) {
    sum += exponential(ckLoadFloatsOr(z + start, lanes, -.infinity) - maximum)
  }
  sums.add(count, step)
  return sums.total
}

/// The value that is in place `rank` when they are ordered from the largest (1) down, equal ones each in a place of
/// their own; NaN is passed over, and -∞ the answer when there are fewer values.
///
/// One pass: a heap holds the largest so far, and sixteen values at a time are left out that its least one excludes.
package func largest(rank: Int, of values: Span<Float>) -> Float {
  precondition(rank > 0, "there is no place \(rank)")
  return withUnsafeTemporaryAllocation(of: Float.self, capacity: rank) { heap in
    heap.initialize(repeating: -.infinity)
    values.withUnsafeBufferPointer { values in
      guard let base = values.baseAddress else { return }
      var start = 0
      while start < values.count {
        let lanes = min(16, values.count - start)
        if ckLargest(ckLoadFloatsOr(base + start, lanes, -.infinity)) > heap[0] {
          for index in start..<start + lanes where values[index] > heap[0] { replaceLeast(heap, by: values[index]) }
        }
        start += 16
      }
    }
    return heap[0]
  }
}

/// Puts a larger value in place of a heap's first, which is its least.
private func replaceLeast(_ heap: UnsafeMutableBufferPointer<Float>, by value: Float) {
  var parent = 0
  while true {
    var child = 2 * parent + 1
    if child >= heap.count { break }
    if child + 1 < heap.count && heap[child + 1] < heap[child] { child += 1 }
    guard heap[child] < value else { break }
    heap[parent] = heap[child]
    parent = child
  }
  heap[parent] = value
}

/// log Σ eᶻ, in nats; NaN when a logit is NaN or +∞.
package func logSumExponential(_ logits: Span<Float>) -> Float {
  logits.withUnsafeBufferPointer { logits in
    guard let base = logits.baseAddress else { return -.infinity }
    let maximum = largest(base, logits.count)
    return maximum + logarithm(SIMD16(repeating: exponentialSum(base, logits.count, minus: maximum)))[0]
  }
}

/// log Σ eᶻ - z[target], in nats: minus the logarithm of the probability of `target`.
///
/// - Parameters:
///   - logits: [vocabulary].
///   - target: in the vocabulary.
package func crossEntropy(_ logits: Span<Float>, target: Int32) -> Float {
  let targetLogit = logits[Int(target)]
  return logits.withUnsafeBufferPointer { logits in
    guard let base = logits.baseAddress else { return .nan }
    let maximum = largest(base, logits.count)
    return log(exponentialSum(base, logits.count, minus: maximum)) + (maximum - targetLogit)
  }
}

/// z → e^((z - maximum) / divisor), in place.
package func exponentials(_ values: inout [Float], minus maximum: Float, over divisor: Float) {
  values.withUnsafeMutableBufferPointer { values in
    guard let base = values.baseAddress else { return }
    @inline(__always) func step(_ start: Int, _ lanes: Int) {
      ckStoreFloats(exponential((ckLoadFloats(base + start, lanes) - maximum) / divisor), base + start, lanes)
    }
    forEachSixteen(values.count, step)
  }
}

/// The largest threshold such that the weights that are not below it have at least `share` of the sum of all.
///
/// Weights are added up by the first bits of their floats, which are in the order of the numbers; only those that share
/// these bits with the threshold are sorted.
///
/// - Parameter weights: each from 0 to 1.
package func threshold(_ weights: Span<Float>, reaching share: Float) -> Float {
  // Eight bits of the exponent and three of the mantissa.
  let shift: UInt32 = 20
  let bucketCount = Int(Float(1).bitPattern >> shift) + 1
  return withUnsafeTemporaryAllocation(of: Double.self, capacity: bucketCount) { sums in
    sums.initialize(repeating: 0)
    for index in weights.indices { sums[Int(weights[index].bitPattern >> shift)] += Double(weights[index]) }
    let limit = Double(share) * sums.reversed().reduce(0, +)
    var sum = 0.0
    guard
      let bucket = sums.indices.reversed().first(where: { bucket in
        sum += sums[bucket]
        return sum >= limit && sum > 0
      })
    else { return 0 }
    sum -= sums[bucket]
    var members: [Float] = []
    for index in weights.indices where Int(weights[index].bitPattern >> shift) == bucket {
      members.append(weights[index])
    }
    members.sort(by: >)
    let last = members.first { weight in
      sum += Double(weight)
      return sum >= limit
    }
    return last ?? members[members.count - 1]
  }
}
