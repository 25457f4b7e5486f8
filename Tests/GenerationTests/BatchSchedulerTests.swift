import Compute
import Foundation
import Generation
import Synchronization
import TestSupport
import Testing
import Tokenization

/// What the scheduler's thread reports, and where a test waits for it.
///
/// - Unchecked Sendable: `events` and `vector` change and are read with `condition` locked.
final class EventLog: @unchecked Sendable {
  private let condition = NSCondition()
  private var events: [GenerationEvent] = []
  private var vector: [Float]?
  private var hasEnded = false

  func add(_ event: GenerationEvent) {
    condition.withLock {
      events.append(event)
      if case .end = event { hasEnded = true }
      condition.broadcast()
    }
  }

  func add(_ result: [Float]?) {
    condition.withLock {
      vector = result
      hasEnded = true
      condition.broadcast()
    }
  }

  /// Waits until there are `count` events, or the last one.
  func wait(count: Int = .max) {
    condition.withLock { while !hasEnded && events.count < count { condition.wait() } }
  }

  /// All events, up to the last one.
  var all: [GenerationEvent] {
    wait()
    return condition.withLock { events }
  }

  var result: [Float]? {
    wait()
    return condition.withLock { vector }
  }
}

@Suite struct BatchSchedulerTests {
  static func scheduler(
    maximumSequences: Int = 4, queueLimit: Int = 100, contextLength: Int = 64, seed: UInt64 = 4
  ) throws -> BatchScheduler {
    try BatchScheduler(
      GeneratorTests.model(contextLength: contextLength, seed: seed), tokenizer: GeneratorTests.tokenizer,
      maximumSequences: maximumSequences, queueLimit: queueLimit, cacheTokens: 4 * contextLength)
  }

  static func submit(_ scheduler: BatchScheduler, _ request: GenerationRequest) throws -> (EventLog, GenerationHandle) {
    let log = EventLog()
    return (log, try scheduler.submit(request) { log.add($0) })
  }

  @Test("each of many streams is what it would be alone", arguments: [1, 3, 8])
  func streams(maximumSequences: Int) throws {
    let model = try GeneratorTests.model()
    let scheduler = try Self.scheduler(maximumSequences: maximumSequences)
    let requests = (0..<20).map { index in
      GeneratorTests.request(
        prompt: [1] + (0..<Int32(index * 7 % 30)).map { 30 + ($0 * 13 + Int32(index)) % 200 },
        maximumTokens: 5 + index, sampling: GeneratorTests.sampling(temperature: index % 2 == 0 ? 0 : 1, seed: 5))
    }
    let logs = try requests.map { try Self.submit(scheduler, $0).0 }
    for (request, log) in zip(requests, logs) {
      let expected = GeneratorTests.Result(try Generator(model, GeneratorTests.tokenizer, request))
      #expect(GeneratorTests.Result(log.all) == expected)
    }
    scheduler.stop(waitingFor: 600)
    let statistics = scheduler.statistics
    #expect(statistics.running == 0 && statistics.waiting == 0)
    #expect(statistics.totals.promptTokens == requests.reduce(0) { $0 + $1.prompt.count })
  }

  @Test("a cancelled generation ends at once, and the others go on")
  func cancellation() throws {
    let scheduler = try Self.scheduler(maximumSequences: 1, contextLength: 20_000)
    var endless = GeneratorTests.request(maximumTokens: nil)
    endless.ignoresEndTokens = true
    let (first, firstHandle) = try Self.submit(scheduler, endless)
    let (second, secondHandle) = try Self.submit(scheduler, endless)
    let (third, _) = try Self.submit(scheduler, GeneratorTests.request(maximumTokens: 3))
    first.wait(count: 3)
    secondHandle.cancel()
    firstHandle.cancel()
    firstHandle.cancel()
    for log in [first, second] {
      guard case .end(let reason, _) = log.all.last else {
        Issue.record("no end")
        return
      }
      #expect(reason == .cancelled)
    }
    #expect(GeneratorTests.Result(third.all).tokens.count <= 3)
    scheduler.stop(waitingFor: 600)
    #expect(third.all.count >= 2)
  }

  @Test("a full queue refuses, with a time to come back")
  func fullQueue() throws {
    let scheduler = try Self.scheduler(maximumSequences: 1, queueLimit: 2, contextLength: 4000)
    var endless = GeneratorTests.request(maximumTokens: nil)
    endless.ignoresEndTokens = true
    let running = try (0..<3).map { _ in try Self.submit(scheduler, endless) }
    let error = #expect(throws: SchedulerError.self) { try Self.submit(scheduler, endless) }
    guard case .queueFull(let seconds) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect((1...600).contains(seconds))
    for (_, handle) in running { handle.cancel() }
    for (log, _) in running { log.wait() }
    #expect(!GeneratorTests.Result(try Self.submit(scheduler, GeneratorTests.request()).0.all).tokens.isEmpty)
  }

  @Test("what takes the place of work that has ended is taken on though others wait")
  func continuation() throws {
    let scheduler = try Self.scheduler(maximumSequences: 1, queueLimit: 1, contextLength: 4000)
    var endless = GeneratorTests.request(maximumTokens: nil)
    endless.ignoresEndTokens = true
    let running = try (0..<2).map { _ in try Self.submit(scheduler, endless) }
    #expect(throws: SchedulerError.self) { try Self.submit(scheduler, endless) }
    let log = EventLog()
    _ = try scheduler.submit(GeneratorTests.request(), continues: true) { log.add($0) }
    for (_, handle) in running { handle.cancel() }
    #expect(!GeneratorTests.Result(log.all).tokens.isEmpty)
  }

  @Test("stopping waits for what takes the place of work that has ended")
  func continuationWhileStopping() throws {
    let scheduler = try Self.scheduler(contextLength: 1000)
    var request = GeneratorTests.request(maximumTokens: 500)
    request.ignoresEndTokens = true
    let (first, second) = (EventLog(), EventLog())
    _ = try scheduler.submit(request) { event in
      if case .end = event {
        _ = try? scheduler.submit(GeneratorTests.request(), continues: true) { second.add($0) }
      }
      first.add(event)
    }
    first.wait(count: 2)
    scheduler.stop(waitingFor: 600)
    #expect(!GeneratorTests.Result(second.all).tokens.isEmpty)
  }

  @Test("stopping lets work come to its end, and cancels what takes too long")
  func stopping() throws {
    var scheduler = try Self.scheduler()
    let short = try (0..<6).map { _ in try Self.submit(scheduler, GeneratorTests.request(maximumTokens: 5)) }
    scheduler.stop(waitingFor: 600)
    for (log, _) in short { #expect(GeneratorTests.Result(log.all).reason != .cancelled) }
    #expect(throws: SchedulerError.stopping) { try Self.submit(scheduler, GeneratorTests.request()) }

    scheduler = try Self.scheduler(contextLength: 20_000)
    var endless = GeneratorTests.request(maximumTokens: nil)
    endless.ignoresEndTokens = true
    let (log, _) = try Self.submit(scheduler, endless)
    log.wait(count: 3)
    scheduler.stop(waitingFor: 0)
    #expect(GeneratorTests.Result(log.all).reason == .cancelled)
  }

  @Test("an embedding has length 1, and is the same beside other work")
  func embeddings() throws {
    let scheduler = try Self.scheduler()
    func embed(_ tokens: [Int32]) throws -> EventLog {
      let log = EventLog()
      _ = try scheduler.embed(tokens) { log.add($0) }
      return log
    }
    let tokens = (0..<40).map { Int32(30 + $0 * 7 % 200) }
    let alone = try #require(try embed(tokens).result)
    #expect(abs(alone.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
    let others = try (0..<5).map { _ in try Self.submit(scheduler, GeneratorTests.request()) }
    let again = try embed(tokens)
    let different = try embed(Array(tokens.dropLast()))
    #expect(again.result == alone)
    #expect(different.result != alone)
    for (log, _) in others { log.wait() }
  }

  @Test("log-probabilities of the prompt are those of the tokens as if they had been chosen")
  func promptLogProbabilities() throws {
    let scheduler = try Self.scheduler()
    var request = GeneratorTests.request(
      maximumTokens: 12, sampling: GeneratorTests.sampling(temperature: 0))
    request.topLogProbabilities = 3
    request.ignoresEndTokens = true
    let written = try Self.submit(scheduler, request).0.all
    var chosen: [TokenLogProbability] = []
    for case .token(_, _, let probability?) in written { chosen.append(probability) }
    #expect(chosen.count == 12 && chosen.allSatisfy { $0.top.count == 3 && $0.top[0].token == $0.token })

    request.prompt += chosen.map(\.token)
    request.reportsPromptLogProbabilities = true
    request.maximumTokens = 0
    let read = try Self.submit(scheduler, request).0.all
    guard case .prompt(let all, cachedTokens: 0) = read[0] else {
      Issue.record("\(read[0])")
      return
    }
    #expect(all.count == 15 && all[0] == nil)
    for (found, expected) in zip(all.suffix(12), chosen) {
      #expect(found?.token == expected.token)
      #expect(abs((found?.logProbability ?? 0) - expected.logProbability) < 1e-5)
    }
    #expect(read.count == 2)
  }
}
