import Foundation
import Machine
import Synchronization

/// Which elements of a block each rank owns: for each rank, ranges in ascending order.
package typealias RankParts = [[Range<Int>]]

/// The communication between the processes of one run: sums of gradients, new weights, a few numbers a step; when data
/// are prepared, bytes (`ProcessExchange+Bytes.swift`).
///
/// Sums are added in the order of ranks, by one process each, so their bits are the same in every run with as many ranks.
/// With one process every operation is a no-op. A thread of its own makes all calls of the group (MPI_THREAD_FUNNELED),
/// so that messages go on while the model's threads compute. All ranks must call the same operations in the same order;
/// one that keeps the others waiting for longer than the time limit ends the run.
///
/// - Unchecked Sendable: what the thread and its owner share is guarded by a lock (`failure`, `counts`) or constant;
///   `group`, `isAbandoned` and `scratch` belong to the thread.
package final class ProcessExchange: @unchecked Sendable {
  package let rank: Int
  package let count: Int
  let thread: JobThread?
  private let group: (any ProcessGroup)?
  private let timeLimit: Double
  private let report: @Sendable (String) -> Void
  private let failure = Mutex<String?>(nil)
  private let counts = Mutex(ExchangeCounts())
  /// Whether messages were abandoned, so that the group can no longer be left in order. Only the thread uses it.
  private var isAbandoned = false
  /// Receives what the other ranks send for this rank's part.
  private var scratch: AlignedBuffer?

  /// One process.
  package init() {
    (rank, count, thread, group, timeLimit) = (0, 1, nil, nil, 0)
    report = { _ in }
  }

  /// - Parameters:
  ///   - timeLimit: seconds that a rank may keep the others waiting.
  ///   - report: tells the user why the run ends.
  ///   - join: makes the group, in the thread that will use it.
  package init(
    timeLimit: Double, report: @escaping @Sendable (String) -> Void, join: () throws -> any ProcessGroup
  ) throws {
    let thread = JobThread(name: "exchange")
    // Open MPI waits for ever for a process that never joins.
    let group = try thread.run(within: timeLimit, giveUp: { Self.endStart(after: timeLimit, report) }) {
      Result { try join() }
    }.get()
    (rank, count, self.thread, self.group) = (group.rank, group.count, thread, group)
    self.timeLimit = timeLimit
    self.report = report
  }

  /// Ends this process, which has not joined its group, and so lets the launcher end the others.
  private static func endStart(after timeLimit: Double, _ report: (String) -> Void) -> Never {
    // All that wait find out at the same time, and one message is enough.
    if Launcher.rank ?? 0 != 0 { sleep(2) }
    let seconds = Int(exactly: timeLimit).map(String.init) ?? "\(timeLimit)"
    report(
      "process \(Launcher.rank ?? 0) has waited \(seconds) s for the others to join. Let mpirun start the same "
        + "command of this program in all of them, or raise --exchange-timeout.")
    // Without the library's own clean-up, which would wait, too.
    _exit(1)
  }

  package var isAlone: Bool { count == 1 }
  /// Whether this process writes files and talks to the user.
  package var isFirst: Bool { rank == 0 }
  package var traffic: ExchangeCounts { counts.withLock { $0 } }

  // MARK: - Numbers

  /// The numbers of every rank, in the order of ranks (MPI's all-gather); all give the same count.
  package func gather(_ values: [Double]) -> [[Double]] {
    guard let thread, !isAlone else { return [values] }
    return thread.run { [self] in
      let all = UnsafeMutableBufferPointer<Double>.allocate(capacity: count * values.count)
      defer { all.deallocate() }
      _ = all.initialize(from: (0..<count).lazy.flatMap { _ in values })
      func message(_ peer: Int, _ place: Int) -> Message {
        Message(
          peer: peer, bytes: UnsafeMutableRawPointer(all.baseAddress! + place * values.count),
          byteCount: values.count * 8)
      }
      transfer(sends: peers.map { message($0, rank) }, receives: peers.map { message($0, $0) })
      return (0..<count).map { Array(all[$0 * values.count..<($0 + 1) * values.count]) }
    }
  }

  /// The sums over all ranks.
  package func sum(_ values: [Double]) -> [Double] {
    let all = gather(values)
    return all.dropFirst().reduce(into: all[0]) { sum, more in
      for index in sum.indices { sum[index] += more[index] }
    }
  }

  /// Whether the flag is set in any rank.
  package func any(_ condition: Bool) -> Bool { sum([condition ? 1 : 0])[0] > 0 }

  // MARK: - Blocks

  /// Begins to replace each rank's part of the block, fp32 values, with the sum over all ranks (MPI's reduce-scatter).
  /// Parts that other ranks own stay as they are.
  ///
  /// The parts must stay untouched until `finishReductions` has returned.
  ///
  /// - Precondition: the parts are within the block.
  package func beginReduction(_ block: AlignedBuffer, _ parts: RankParts) {
    guard let thread, !isAlone else { return }
    let values = floats(of: block, containing: parts)
    // The thread keeps the block alive until it is done.
    thread.begin { [self] in withExtendedLifetime(block) { reduce(values, parts) } }
  }

  /// Waits for all reductions.
  package func finishReductions() { wait { thread?.finish() } }

  /// Broadcasts each rank's part of the block, fp32 values, to all the others (MPI's all-gather).
  ///
  /// - Precondition: the parts are within the block.
  package func distribute(_ block: AlignedBuffer, _ parts: RankParts) {
    guard let thread, !isAlone else { return }
    let values = floats(of: block, containing: parts)
    wait {
      thread.run { [self] in
        transfer(
          sends: peers.flatMap { peer in parts[rank].map { message(peer, values, $0) } },
          receives: peers.flatMap { peer in parts[peer].map { message(peer, values, $0) } }, isBulk: true)
      }
    }
  }

  /// Gathers values that are spread over ranks in the first one, where `numbers` are all of them afterwards.
  ///
  /// - Parameters:
  ///   - numbers: as long in every rank; each has its own stretches in their places.
  ///   - owners: which rank has the next stretch, and how many numbers that is.
  /// - Precondition: the stretches are as long as `numbers` altogether.
  package func collect(_ numbers: inout [Float], from owners: [(rank: Int, count: Int)]) {
    precondition(
      owners.reduce(0) { $0 + $1.count } == numbers.count, "stretches of other than \(numbers.count) numbers")
    guard let thread, !isAlone else { return }
    numbers.withUnsafeMutableBufferPointer { buffer in
      guard let values = buffer.baseAddress else { return }
      var place = 0
      var (sends, receives): ([Message], [Message]) = ([], [])
      for owner in owners {
        let stretch = place..<place + owner.count
        if owner.rank == rank, !isFirst { sends.append(message(0, values, stretch)) }
        if owner.rank != 0, isFirst { receives.append(message(owner.rank, values, stretch)) }
        place = stretch.upperBound
      }
      thread.run { transfer(sends: sends, receives: receives) }
    }
  }

  var peers: [Int] { (0..<count).filter { $0 != rank } }

  private func floats(of block: AlignedBuffer, containing parts: RankParts) -> UnsafeMutablePointer<Float> {
    let count = block.byteCount / MemoryLayout<Float>.stride
    precondition(
      parts.joined().allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= count }, "parts beyond \(count) values")
    return block.base.assumingMemoryBound(to: Float.self)
  }

  private func message(_ peer: Int, _ values: UnsafeMutablePointer<Float>, _ range: Range<Int>) -> Message {
    Message(peer: peer, bytes: UnsafeMutableRawPointer(values + range.lowerBound), byteCount: range.count * 4)
  }

  /// In the thread: sends the others their parts, receives this rank's, and adds up in the order of ranks.
  private func reduce(_ values: UnsafeMutablePointer<Float>, _ parts: RankParts) {
    let mine = parts[rank]
    let partCount = mine.reduce(0) { $0 + $1.count }
    let room = floats(partCount * (count - 1))
    /// What a rank has sent, or would have.
    func part(of peer: Int) -> UnsafeMutablePointer<Float> { room + partCount * (peer < rank ? peer : peer - 1) }
    var receives: [Message] = []
    for peer in peers {
      var place = part(of: peer)
      for range in mine {
        receives.append(message(peer, place, 0..<range.count))
        place += range.count
      }
    }
    transfer(
      sends: peers.flatMap { peer in parts[peer].map { message(peer, values, $0) } }, receives: receives, isBulk: true)
    var place = 0
    for range in mine {
      let own = values + range.lowerBound
      let sum = rank == 0 ? own : part(of: 0) + place
      for peer in 1..<count { add(peer == rank ? own : part(of: peer) + place, to: sum, count: range.count) }
      if rank != 0 { own.update(from: sum, count: range.count) }
      place += range.count
    }
  }

  private func add(_ more: UnsafePointer<Float>, to sum: UnsafeMutablePointer<Float>, count: Int) {
    for index in 0..<count { sum[index] += more[index] }
  }

  private func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    if scratch.map({ $0.byteCount < count * 4 }) ?? true {
      scratch = nil
      do { scratch = try AlignedBuffer(byteCount: max(4, count * 4)) } catch { end(error.description) }
    }
    return scratch!.base.assumingMemoryBound(to: Float.self)
  }

  /// In the thread: one exchange of messages, within the time limit.
  ///
  /// - Parameter isBulk: whether it is of gradients or weights, whose time is counted.
  private func transfer(sends: [Message], receives: [Message], isBulk: Bool = false) {
    let start = monotonicSeconds()
    transfer(sends: sends, receives: receives, isPatient: false) {}
    if isBulk { counts.withLock { $0.seconds += monotonicSeconds() - start } }
  }

  /// In the thread: one exchange of messages, within the time limit.
  ///
  /// - Parameters:
  ///   - isPatient: leaves the processor to others rather than see at once what has arrived.
  ///   - check: called in the pauses; what it throws gives the messages up, and then the exchange can only be closed.
  func transfer(
    sends: [Message], receives: [Message], isPatient: Bool, check: () throws -> Void
  ) rethrows {
    guard let group, let thread else { return }
    let start = monotonicSeconds()
    try group.transfer(sends: sends, receives: receives) { missing in
      if let reason = failure.withLock({ $0 }) { end(reason) }
      if monotonicSeconds() - start > timeLimit {
        let ranks = missing().map(String.init).joined(separator: ", ")
        let seconds = Int(exactly: timeLimit).map(String.init) ?? "\(timeLimit)"
        // All ranks wait, and one message is enough.
        letFirstSpeak()
        end(
          "process \(rank) of \(count) has waited \(seconds) s for \(ranks.isEmpty ? "the others" : "process \(ranks)"), "
            + "so the run ends. Look what holds that up, or raise --exchange-timeout, and start it again "
            + "(training with --resume).")
      }
      do { try check() } catch {
        isAbandoned = true
        throw error
      }
      if thread.isAwaited && !isPatient { sched_yield() } else { usleep(50) }
    }
    counts.withLock { $0.sentBytes += sends.reduce(0) { $0 + $1.byteCount } }
  }

  private func wait(_ body: () -> Void) {
    let start = monotonicSeconds()
    body()
    counts.withLock { $0.waitedSeconds += monotonicSeconds() - start }
  }

  // MARK: - The end

  /// Ends the run of all ranks, whatever they are doing, and says why.
  ///
  /// An error that all of them meet is reported once: the first rank reports it, the others wait to be ended by it.
  package func fail(_ reason: String) -> Never {
    letFirstSpeak()
    failure.withLock { $0 = isFirst ? reason : "process \(rank) of \(count): \(reason)" }
    // The thread checks it in its pauses; if it is idle, this job makes it check.
    thread?.begin { [self] in if let reason = failure.withLock({ $0 }) { end(reason) } }
    while true { sleep(1) }
  }

  /// Waits two seconds in all ranks except the first: an error that all meet is reported by the first one, which then
  /// ends the others.
  private func letFirstSpeak() {
    let end = monotonicSeconds() + 2
    // In small pieces, since a signal cuts a sleep short.
    while !isFirst && monotonicSeconds() < end { usleep(10_000) }
  }

  /// In the thread.
  private func end(_ reason: String) -> Never {
    report(reason)
    guard let group else { exit(1) }
    group.abort()
  }

  /// Leaves the group in order (`MPI_Finalize`); all ranks must do so.
  package func close() {
    thread?.run { if isAbandoned { group?.abort() } else { group?.close() } }
    thread?.stop()
  }
}

/// What an exchange has done so far.
package struct ExchangeCounts: Sendable, Equatable {
  package var sentBytes = 0
  /// Seconds in which gradients or weights were being exchanged.
  package var seconds = 0.0
  /// Seconds of these in which the model's threads waited.
  package var waitedSeconds = 0.0

  package init() {}
}
