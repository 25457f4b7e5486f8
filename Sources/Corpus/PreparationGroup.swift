import Foundation
import Processes

/// What the processes of a preparation do together. Alone it is the same object, without messages.
///
/// The blocks of the input are assigned in turn, and the processes meet once for each block of theirs: in a round they look
/// up each other's keys, and give their documents to the first one in the order of ranks, which is that of the input.
/// One thread at a time uses it (`OrderedPipeline`'s `commit`).
package final class PreparationGroup {
  fileprivate let exchange: ProcessExchange
  private let isStopRequested: @Sendable () -> Bool
  /// This process's part of the keys of all rows so far.
  package private(set) var seen = DigestSet()
  /// The file of the current round, and its lines so far that its readers have not counted.
  private var file = 0
  private var lines = 0
  /// Since when the first process, waiting for others, has known that it is to stop.
  private var stopSeen: ContinuousClock.Instant?

  /// - Parameter isStopRequested: asked in each round; when one process says yes, all stop.
  package init(_ exchange: ProcessExchange, isStopRequested: @escaping @Sendable () -> Bool = { false }) {
    self.exchange = exchange
    self.isStopRequested = isStopRequested
  }

  var share: BlockShare { BlockShare(index: exchange.rank, of: exchange.count) }

  // MARK: - Rounds

  /// How a process comes to a round.
  private enum Status: Int64 { case block, ended, stopped, failed, broken }

  /// Begins a round: tells the others whether there is a block, and learns it from them.
  ///
  /// - Parameters:
  ///   - block: nil when this process has no more.
  ///   - failure: why it has no more, if that is an error.
  ///   - isStrict: whether a broken row in the block is an error.
  /// - Returns: the lines of the block's file that come before it, as far as its reader has not counted them; nil when
  ///   no process has a block any more.
  /// - Throws: `failure`, `PreparationStopped`, `ProcessError` for another's failure, `CorpusError` for a broken row.
  func beginRound(_ block: EncodedBlock?, failure: (any Error)?, isStrict: Bool) throws -> Int? {
    let brokenRow = isStrict ? block?.counts.broken.first : nil
    var status = block == nil ? Status.ended : .block
    var text: [UInt8] = []
    if isStopRequested() {
      status = .stopped
    } else if let failure {
      (status, text) = (.failed, Array("\(failure)".utf8))
    } else if let brokenRow {
      (status, text) = (.broken, Array(try JSONEncoder().encode(brokenRow)))
    }
    let numbers = [status.rawValue, Int64(block?.fileIndex ?? 0), Int64(block?.uncountedLines ?? 0)]
    let own = numbers.withUnsafeBytes(Array.init) + text
    let all = try exchange.exchange([[UInt8]](repeating: own, count: exchange.count), check: checkStop)

    var hasBlock = false
    var linesBefore = 0
    for (rank, bytes) in all.enumerated() {
      let numbers = bytes.withUnsafeBytes { Array($0[..<24].bindMemory(to: Int64.self)) }
      let text = bytes[24...]
      if numbers[0] == Status.block.rawValue || numbers[0] == Status.broken.rawValue {
        hasBlock = true
        if numbers[1] != file { (file, lines) = (Int(numbers[1]), 0) }
        if rank == exchange.rank { linesBefore = lines }
      }
      switch Status(rawValue: numbers[0])! {
      case .block, .ended: break
      case .stopped: throw PreparationStopped()
      case .failed:
        if let failure, rank == exchange.rank { throw failure }
        throw ProcessError("process \(rank) of \(exchange.count): \(String(decoding: text, as: UTF8.self))")
      case .broken:
        var row = try JSONDecoder().decode(Tally<BrokenRows.Kind>.Example.self, from: Data(text))
        row.line += lines
        throw CorpusError("\(row.file):\(row.line): \(row.text)")
      }
      lines += Int(numbers[2])
    }
    return hasBlock ? linesBefore : nil
  }

  /// The first process waits no longer than half a second for the others when it is to stop: they may be gone, and a second
  /// after its signal `mpirun` kills it, too. By then it has removed what it wrote. The others have nothing to remove.
  fileprivate func checkStop() throws {
    guard exchange.isFirst, isStopRequested() else { return }
    let now = ContinuousClock.now
    if now - (stopSeen ?? now) > .milliseconds(500) { throw PreparationStopped() }
    stopSeen = stopSeen ?? now
  }

  /// Whether each key is there for the first time, in the order of the input. Part of a round.
  ///
  /// Each key is kept by one process, which looks up those of all in the order of ranks.
  package func areNew(_ keys: [Digest]) throws -> [Bool] {
    guard !exchange.isAlone else { return keys.map { seen.insert($0) } }
    let owners = keys.map { $0.owner(among: exchange.count) }
    var questions = [[Digest]](repeating: [], count: exchange.count)
    for (key, owner) in zip(keys, owners) { questions[owner].append(key) }
    let asked = try exchange.exchange(questions.map { $0.withUnsafeBytes(Array.init) }, check: checkStop)
    let answers = asked.map { bytes in
      bytes.withUnsafeBytes { keys in keys.bindMemory(to: Digest.self).map { seen.insert($0) ? UInt8(1) : 0 } }
    }
    let replies = try exchange.exchange(answers, check: checkStop)
    var next = [Int](repeating: 0, count: exchange.count)
    return owners.map { owner in
      defer { next[owner] += 1 }
      return replies[owner][next[owner]] != 0
    }
  }

  /// Gives the first process every process's documents, in the order of ranks. Ends a round.
  ///
  /// - Parameter write: called in the first process only.
  func collect(_ block: EncodedBlock, _ write: (EncodedBlock) throws -> Void) throws {
    if exchange.isFirst { try write(block) }
    try exchange.collect(exchange.isFirst ? [] : block.message, check: checkStop) {
      try write(EncodedBlock(message: $0))
    }
  }

  /// The counts of all processes' rows, in the first one. After the last round.
  func merge(_ counts: PreparationCounts) throws -> PreparationCounts {
    var all = counts
    try exchange.collect(exchange.isAlone ? [] : Array(JSONEncoder().encode(counts)), check: checkStop) {
      all.add(try JSONDecoder().decode(PreparationCounts.self, from: Data($0)))
    }
    return all
  }
}

extension PreparationGroup {
  /// Gives all processes what the first one has decided. After the last round.
  ///
  /// - Parameter decision: of the first process; the others' does not count.
  func announce(_ decision: UInt64?) throws -> UInt64? {
    guard !exchange.isAlone else { return decision }
    let own = exchange.isFirst ? decision.map { withUnsafeBytes(of: $0, Array.init) } ?? [] : []
    let all = try exchange.exchange(
      [[UInt8]](repeating: own, count: exchange.count), check: checkStop)
    return all[0].isEmpty ? nil : all[0].withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
  }
}

/// A process was asked to stop, and so all have stopped.
package struct PreparationStopped: Error {}

extension EncodedBlock {
  /// The documents as bytes for another process of the same program. Little-endian, as every machine that it runs on.
  ///
  ///     Int64      count of documents, count of tokens, bytes of a token, count of `trained`, `bytesCompleted`
  ///     documents  as they are in memory
  ///     tokens     UInt16 where all fit, else Int32
  ///     trained    UInt8 each
  var message: [UInt8] {
    let isShort = tokens.allSatisfy { $0 <= UInt16.max }
    let numbers = [documents.count, tokens.count, isShort ? 2 : 4, trained.count, bytesCompleted]
    var bytes: [UInt8] = []
    bytes.reserveCapacity(40 + documents.count * 32 + tokens.count * 4 + trained.count)
    numbers.withUnsafeBytes { bytes.append(contentsOf: $0) }
    documents.withUnsafeBytes { bytes.append(contentsOf: $0) }
    if isShort {
      tokens.map { UInt16(truncatingIfNeeded: $0) }.withUnsafeBytes { bytes.append(contentsOf: $0) }
    } else {
      tokens.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }
    bytes.append(contentsOf: trained)
    return bytes
  }

  init(message: [UInt8]) {
    var position = 0
    func take<Element: BitwiseCopyable>(_ count: Int, _: Element.Type) -> [Element] {
      let byteCount = count * MemoryLayout<Element>.stride
      defer { position += byteCount }
      return message.withUnsafeBytes { bytes in
        [Element](unsafeUninitializedCapacity: count) { target, initialized in
          UnsafeMutableRawBufferPointer(target).copyBytes(from: bytes[position..<position + byteCount])
          initialized = count
        }
      }
    }
    let numbers = take(5, Int.self)
    documents = take(numbers[0], Document.self)
    tokens = numbers[2] == 2 ? take(numbers[1], UInt16.self).map(Int32.init) : take(numbers[1], Int32.self)
    trained = take(numbers[3], UInt8.self)
    bytesCompleted = numbers[4]
  }
}
