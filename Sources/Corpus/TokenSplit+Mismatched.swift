import Model

extension TokenSplit {
  /// Adds the prompt of a document followed by the answer of the document before it in the split, the first one's being the
  /// last: an answer that says nothing of the prompt. The answer's tokens are trained on as in its own document.
  ///
  /// An answer is all of its document from the first trained token on.
  ///
  /// - Parameter maximumTokens: the most rows; what does not fit is cut off the end.
  package func appendMismatched(_ index: Int, maximumTokens: Int, to batch: inout Batch) {
    let (shard, prompt, _) = parts(ofDocument: index)
    let (other, _, answer) = parts(ofDocument: (index + documentCount - 1) % documentCount)
    // Two tokens make a row; a document that is all prompt gives an answer without tokens.
    let count = max(2, min(prompt.count + answer.count, maximumTokens + 1))
    func place(_ index: Int) -> (shard: TokenShard, token: Int) {
      index < prompt.count || answer.isEmpty
        ? (shard, prompt.lowerBound + min(index, prompt.count - 1))
        : (other, answer.lowerBound + min(index - prompt.count, answer.count - 1))
    }
    batch.append(
      count: count, number: index,
      token: {
        let (shard, token) = place($0)
        return shard.token(token)
      },
      lossWeight: {
        let (shard, token) = place($0)
        return $0 >= prompt.count && shard.isTrained(token) ? 1 : 0
      })
    see(shard, locate(index).document, tokens: 0..<min(prompt.count, count - 1), in: &batch)
  }

  /// The rows that `appendMismatched` adds.
  package func mismatchedTokenCount(_ index: Int, maximumTokens: Int) -> Int {
    let prompt = parts(ofDocument: index).prompt
    let answer = parts(ofDocument: (index + documentCount - 1) % documentCount).answer
    return max(2, min(prompt.count + answer.count, maximumTokens + 1)) - 1
  }

  private func parts(ofDocument index: Int) -> (shard: TokenShard, prompt: Range<Int>, answer: Range<Int>) {
    let (shard, document) = locate(index)
    let range = shard.tokenRange(ofDocument: document)
    let start = range.dropFirst().first(where: shard.isTrained) ?? range.upperBound
    return (shard, range.lowerBound..<start, start..<range.upperBound)
  }
}
