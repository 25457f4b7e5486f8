import Foundation
import Processes

/// Threads that stand for the processes of a group, so that a test runs several ranks in one process.
package final class ThreadProcessGroup: ProcessGroup {
  package let rank: Int
  package let count: Int
  private let mail: Mail

  private init(rank: Int, count: Int, mail: Mail) { (self.rank, self.count, self.mail) = (rank, count, mail) }

  package func transfer(
    sends: [Message], receives: [Message], pause: (_ missing: () -> [Int]) throws -> Void
  ) rethrows {
    for message in sends {
      mail.post(Data(bytes: message.bytes, count: message.byteCount), from: rank, to: message.peer)
    }
    for (index, message) in receives.enumerated() {
      while true {
        if let data = mail.take(from: message.peer, to: rank) {
          precondition(data.count == message.byteCount, "\(data.count) bytes for a place of \(message.byteCount)")
          data.copyBytes(to: UnsafeMutableRawBufferPointer(start: message.bytes, count: message.byteCount))
          break
        }
        try pause { Array(Set(receives[index...].map(\.peer))).sorted() }
      }
    }
  }

  package func abort() -> Never { exit(1) }
  package func close() {}

  /// Runs `body` in as many ranks and gives what each returned, by rank.
  ///
  /// - Throws: what the first rank that failed has thrown, when all have ended.
  package static func run<Result>(
    _ count: Int, timeLimit: Double = 60, report: @escaping @Sendable (String) -> Void = { _ in },
    _ body: @escaping (ProcessExchange) throws -> Result
  ) throws -> [Result] {
    let mail = Mail()
    // Sound: a thread writes its own element, and they are read when all threads have ended.
    nonisolated(unsafe) var results = [Swift.Result<Result, any Error>?](repeating: nil, count: count)
    nonisolated(unsafe) let body = body
    let lock = NSLock()
    let threads = DispatchGroup()
    for rank in 0..<count {
      threads.enter()
      let thread = Thread {
        let result = Swift.Result {
          let exchange = try ProcessExchange(timeLimit: timeLimit, report: report) {
            ThreadProcessGroup(rank: rank, count: count, mail: mail)
          }
          defer { exchange.close() }
          return try body(exchange)
        }
        lock.withLock { results[rank] = result }
        threads.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    threads.wait()
    return try results.map { try $0!.get() }
  }

  /// What was sent and not yet received.
  ///
  /// - Unchecked Sendable: `letters` changes only with `lock` held.
  private final class Mail: @unchecked Sendable {
    private let lock = NSLock()
    private var letters: [[Int]: [Data]] = [:]

    func post(_ data: Data, from: Int, to: Int) { lock.withLock { letters[[from, to], default: []].append(data) } }

    func take(from: Int, to: Int) -> Data? {
      lock.withLock {
        guard letters[[from, to]]?.isEmpty == false else { return nil }
        return letters[[from, to]]!.removeFirst()
      }
    }
  }
}
