import Model

extension Batch {
  /// Leaves only the samples of one process, where several share out a row of batches by tokens. All tokens are cut into
  /// equal parts, one a process; a sample belongs to the part that holds its middle token.
  ///
  /// - Parameters:
  ///   - before, total: tokens of the batches before this one, and of all.
  ///   - documentsPerSample: as in `BatchSequence`.
  /// - Returns: this batch's tokens before those that are left.
  package mutating func keep(_ share: BatchShare, before: Int, of total: Int, documentsPerSample: Int) -> Int {
    func start(_ sample: Int) -> Int { Int(documentOffsets[sample * documentsPerSample]) }
    func owner(_ sample: Int) -> Int { (2 * before + start(sample) + start(sample + 1)) * share.count / (2 * total) }
    let samples = 0..<documentCount / documentsPerSample
    let first = samples.first { owner($0) >= share.rank } ?? samples.upperBound
    let end = (first..<samples.upperBound).first { owner($0) > share.rank } ?? samples.upperBound
    let begin = start(first)
    keep(documents: first * documentsPerSample..<end * documentsPerSample)
    return begin
  }
}
