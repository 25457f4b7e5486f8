import Model

extension Batch {
  /// Packed documents of random tokens, with targets as random.
  package init(lengths: [Int], vocabulary: Int, seed: UInt64, trainedShare: Double = 0.8) {
    var generator = SeededGenerator(seed: seed)
    var (tokens, targets, lossWeights, documentOffsets) = ([Int32](), [Int32](), [Float](), [Int32(0)])
    for length in lengths {
      for _ in 0..<length {
        tokens.append(Int32.random(in: 0..<Int32(vocabulary), using: &generator))
        targets.append(Int32.random(in: 0..<Int32(vocabulary), using: &generator))
        lossWeights.append(Double.random(in: 0..<1, using: &generator) < trainedShare ? 1 : 0)
      }
      documentOffsets.append(Int32(tokens.count))
    }
    self.init(tokens: tokens, targets: targets, lossWeights: lossWeights, documentOffsets: documentOffsets)
  }

  /// Documents of which all tokens are read: for logits.
  package init(prompts: [[Int32]]) {
    self.init()
    for prompt in prompts { append(prompt: prompt) }
  }

  /// One document by itself.
  package func document(_ index: Int) -> Batch {
    var batch = self
    batch.keep(documents: index..<index + 1)
    return batch
  }
}
