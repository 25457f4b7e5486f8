import Foundation
import Machine
import Processes
import TestSupport
import Testing

@Suite("Exchange between processes")
struct ProcessExchangeTests {
  /// A block whose values are other ones in every rank.
  private func block(_ rank: Int, count: Int) -> [Float] {
    (0..<count).map { Float(sin(Double($0 * 7 + rank * 1001))) }
  }

  private func buffer(_ values: [Float]) throws -> AlignedBuffer {
    let buffer = try AlignedBuffer(byteCount: values.count * 4)
    values.withUnsafeBytes { buffer.base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    return buffer
  }

  private func floats(_ buffer: AlignedBuffer) -> [Float] {
    Array(UnsafeRawBufferPointer(start: buffer.base, count: buffer.byteCount).bindMemory(to: Float.self))
  }

  @Test("a message in pieces is the same bytes in order, none longer than the limit", arguments: [0, 1, 7, 8, 9, 24])
  func pieces(byteCount: Int) {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: max(1, byteCount), alignment: 1)
    defer { bytes.deallocate() }
    let pieces = Message(peer: 3, bytes: bytes, byteCount: byteCount).pieces(limit: 8)
    #expect(pieces.count == max(1, (byteCount + 7) / 8) && pieces.allSatisfy { $0.peer == 3 && $0.byteCount <= 8 })
    var end = bytes
    for piece in pieces {
      #expect(piece.bytes == end)
      end += piece.byteCount
    }
    #expect(end == bytes + byteCount)
  }

  @Test("each rank's part becomes the sum in the order of ranks, and the others' stay", arguments: 1...5)
  func reduction(count: Int) throws {
    let size = 1000
    // Uneven, one part empty, one in two ranges.
    var parts = RankParts(repeating: [], count: count)
    parts[count - 1] = [0..<100, 900..<1000]
    for rank in 0..<max(1, count - 2) { parts[rank] += [100 + rank * 160..<100 + rank * 160 + 150] }
    let blocks = (0..<count).map { block($0, count: size) }
    let found = try ThreadProcessGroup.run(count) { exchange in
      let values = try buffer(blocks[exchange.rank])
      exchange.beginReduction(values, parts)
      exchange.beginReduction(values, RankParts(repeating: [], count: count))
      exchange.finishReductions()
      return floats(values)
    }
    for rank in 0..<count {
      for index in 0..<size {
        let isOwn = parts[rank].contains { $0.contains(index) }
        let sum = blocks.dropFirst().reduce(blocks[0][index]) { $0 + $1[index] }
        #expect(found[rank][index] == (isOwn ? sum : blocks[rank][index]))
      }
    }
  }

  @Test("after each rank gave its part to the others, all have the same", arguments: 1...4)
  func distribution(count: Int) throws {
    let parts: RankParts = (0..<count).map { [$0 * 10..<$0 * 10 + 10, 100 + $0..<101 + $0] }
    let found = try ThreadProcessGroup.run(count) { exchange in
      var values = [Float](repeating: -1, count: 110)
      for range in parts[exchange.rank] { for index in range { values[index] = Float(index) } }
      let block = try buffer(values)
      exchange.distribute(block, parts)
      return floats(block)
    }
    for index in 0..<110 {
      let isSomebodys = parts.joined().contains { $0.contains(index) }
      #expect(found.allSatisfy { $0[index] == (isSomebodys ? Float(index) : -1) })
    }
  }

  @Test("the first rank gets stretches in their order, whoever has them", arguments: 1...3)
  func collection(count: Int) throws {
    let owners = (0..<4).map { (rank: $0 % count, count: $0 + 1) }
    let found = try ThreadProcessGroup.run(count) { exchange -> [Float] in
      var numbers = owners.flatMap { owner in
        [Float](repeating: owner.rank == exchange.rank ? Float(10 + owner.rank) : -1, count: owner.count)
      }
      exchange.collect(&numbers, from: owners)
      return numbers
    }
    #expect(found[0] == owners.flatMap { [Float](repeating: Float(10 + $0.rank), count: $0.count) })
  }

  @Test("numbers are gathered and added in the order of ranks", arguments: 1...4)
  func numbers(count: Int) throws {
    let found = try ThreadProcessGroup.run(count) { exchange in
      (
        exchange.gather([Double(exchange.rank), 7]), exchange.sum([1, Double(exchange.rank)]),
        exchange.any(exchange.rank == 2), exchange.any(exchange.rank == 9)
      )
    }
    for (gathered, sum, has2, has9) in found {
      #expect(gathered == (0..<count).map { [Double($0), 7] })
      #expect(sum == [Double(count), Double(count * (count - 1) / 2)])
      #expect(has2 == (count > 2) && !has9)
    }
  }

  @Test("a rank that lets the others wait ends the run, with its number")
  func timeLimit() async {
    let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
      _ = try ThreadProcessGroup.run(
        2, timeLimit: 0.3, report: { FileHandle.standardError.write(Data($0.utf8)) }
      ) { exchange in
        while exchange.rank == 1 { pause() }
        return exchange.sum([1])
      }
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("process 0 of 2 has waited 0.3 s for process 1"), "\(text)")
  }

  @Test("a group that is never complete ends the start")
  func incompleteGroup() async {
    let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
      _ = try ProcessExchange(timeLimit: 0.3, report: { FileHandle.standardError.write(Data($0.utf8)) }) {
        while true { pause() }
      }
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("has waited 0.3 s for the others to join"), "\(text)")
  }

  @Test("an error of one rank ends all, with its number")
  func failure() async {
    let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
      _ = try ThreadProcessGroup.run(2, report: { FileHandle.standardError.write(Data($0.utf8)) }) { exchange in
        if exchange.rank == 1 { exchange.fail("the shard is damaged.") }
        return exchange.sum([1])
      }
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("process 1 of 2: the shard is damaged."), "\(text)")
  }
}
