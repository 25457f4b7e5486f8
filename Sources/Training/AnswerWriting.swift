import Model
import Processes

/// Has the model in training write answers, which several processes share out.
final class AnswerWriting {
  private let writer: any RolloutWriter
  private let exchange: ProcessExchange
  /// Asked while answers are written.
  var isWanted: () -> Bool = { true }

  init(_ writer: any RolloutWriter, _ exchange: ProcessExchange) {
    self.writer = writer
    self.exchange = exchange
  }

  init(_ context: StageContext) {
    guard let writer = context.writer else { preconditionFailure("a run whose model answers without a writer") }
    self.writer = writer
    exchange = context.exchange
  }

  /// The answers of this process, with the numbers of their requests.
  ///
  /// - Throws: `Stopped` when `isWanted` says so.
  func writeOwn(
    _ requests: [AnswerRequest], with engine: any TrainingEngine
  ) throws -> [(request: Int, answer: AnswerTokens)] {
    let own = requests.indices.filter { $0 % exchange.count == exchange.rank }
    guard !own.isEmpty else { return [] }
    let written = try writer.write(own.map { requests[$0] }, with: engine) { [isWanted] _ in
      if !isWanted() { throw Stopped() }
    }
    return zip(own, written).map { ($0, $1) }
  }

  /// Gives all processes all answers, those of several processes without their texts: a row of numbers each, 0 in the processes
  /// that have not written it.
  ///
  /// - Parameters:
  ///   - own: as `writeOwn` gives them.
  ///   - numbers: [own] what else is known of each: `numberCount` values.
  /// - Returns: [requests]
  func share(
    _ own: [(request: Int, answer: AnswerTokens)], of requests: [AnswerRequest], numbers: [[Double]], numberCount: Int
  ) -> [(answer: AnswerTokens, numbers: [Double])] {
    if exchange.isAlone { return zip(own, numbers).map { ($0.answer, $1) } }
    let room = requests.map(\.maximumTokens).max() ?? 0
    let tokens = 2 + numberCount
    let width = tokens + 3 * room
    var rows = [Double](repeating: 0, count: width * requests.count)
    for ((request, answer), numbers) in zip(own, numbers) where !answer.tokens.isEmpty {
      let first = request * width
      func set(_ values: [Double], at place: Int) {
        rows.replaceSubrange(first + place..<first + place + values.count, with: values)
      }
      set([Double(answer.tokens.count), answer.isTruncated ? 1 : 0] + numbers, at: 0)
      set(answer.tokens.map(Double.init), at: tokens)
      set(answer.logProbabilities.map(Double.init), at: tokens + room)
      for place in answer.inserted.joined() { rows[first + tokens + 2 * room + place] = 1 }
    }
    rows = exchange.sum(rows)
    return requests.indices.map { index in
      let row = rows[index * width..<(index + 1) * width].map { $0 }
      let count = Int(row[0])
      var answer = AnswerTokens(
        tokens: row[tokens..<tokens + count].map { Int32($0) },
        logProbabilities: row[tokens + room..<tokens + room + count].map { Float($0) }, isTruncated: row[1] > 0)
      answer.inserted = (0..<count).filter { row[tokens + 2 * room + $0] > 0 }.map { $0..<$0 + 1 }
      return (answer, Array(row[2..<tokens]))
    }
  }
}
