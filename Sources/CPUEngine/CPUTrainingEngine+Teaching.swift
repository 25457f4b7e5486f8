import Compute
import Model

extension CPUTrainingEngine: TeachingEngine {
  package func largestProbabilities(_ batch: Batch, count: Int, temperature: Double) -> LargestProbabilities {
    let rows = batch.lossWeights.indices.filter { batch.lossWeights[$0] != 0 }
    var logits = pass.logits(batch, rows: rows)
    let vocabulary = configuration.vocabularySize
    var tokens = [Int32](repeating: 0, count: rows.count * count)
    var logarithms = [Float](repeating: 0, count: rows.count * (count + 1))
    logits.withUnsafeMutableBufferPointer { logits in
      tokens.withUnsafeMutableBufferPointer { tokens in
        logarithms.withUnsafeMutableBufferPointer { logarithms in
          guard let z = logits.baseAddress, let ids = tokens.baseAddress, let numbers = logarithms.baseAddress else {
            return
          }
          // Sound, as each worker has rows of its own.
          nonisolated(unsafe) let (z2, ids2, numbers2) = (z, ids, numbers)
          let rowCount = rows.count
          team.run { [team] worker in
            for row in team.share(of: rowCount, worker: worker, multiple: 1) {
              Compute.largestProbabilities(
                z2 + row * vocabulary, vocabulary: vocabulary, count: count, temperature: temperature,
                tokens: ids2 + row * count, logarithms: numbers2 + row * (count + 1))
            }
          }
        }
      }
    }
    var said = LargestProbabilities(count: count)
    for row in rows.indices {
      said.append(
        tokens: tokens[row * count..<(row + 1) * count],
        logarithms: logarithms[row * (count + 1)..<(row + 1) * (count + 1)])
    }
    return said
  }
}
