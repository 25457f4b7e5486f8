import Compute
import Machine
import Model
import Reference
import TestSupport
import Testing

struct PagedAttentionTests {
  /// One key/value head of a sequence, with the query heads that share it, in pages that lie about in any order.
  struct Case {
    let headSize: Int
    let group: Int
    let type: ElementType
    let tokens: Int
    /// [tokens, (group + 2)·headSize] queries, keys and values, in numbers that the type can hold.
    let fused: MatrixView
    private let buffer: AlignedBuffer

    init(headSize: Int, group: Int, type: ElementType, tokens: Int, using generator: inout SeededGenerator) throws {
      (self.headSize, self.group, self.type, self.tokens) = (headSize, group, type, tokens)
      let width = (group + 2) * headSize
      buffer = try AlignedBuffer(byteCount: 8 * tokens * width)
      fused = MatrixView(buffer.base.assumingMemoryBound(to: Float.self), rows: tokens, columns: width)
      for (index, value) in randomFloats(tokens * width, using: &generator).enumerated() { fused.floats[index] = value }
      let rounded = MatrixView(buffer.base + 4 * tokens * width, rows: tokens, columns: width, type: type)
      convert(fused, to: rounded)
      convert(rounded, to: fused)
    }

    /// [tokens, group·headSize] with the tokens added in pieces.
    func attend(_ pieces: [Int], using generator: inout SeededGenerator) throws -> [Float] {
      let page = PageShape(headSize: headSize, type: type)
      let count = (tokens + PageShape.length - 1) / PageShape.length
      let memory = try AlignedBuffer(byteCount: (count + 3) * page.byteCount)
      // What earlier sequences left: here no numbers at all.
      memory.base.initializeMemory(as: UInt8.self, repeating: 0xFF, count: memory.byteCount)
      let pages = (0..<Int32(count + 3)).shuffled(using: &generator)
      let scratch = try PagedAttentionScratch(page, groupSize: group)
      let width = group * headSize
      return try pages.withUnsafeBufferPointer { pages in
        let head = PagedHead(
          page, base: memory.base, pageStride: page.byteCount, pages: pages.baseAddress!, pageCount: count)
        let result = try AlignedBuffer(byteCount: 4 * tokens * width)
        let output = MatrixView(result.base.assumingMemoryBound(to: Float.self), rows: tokens, columns: width)
        var first = 0
        for piece in pieces {
          let rows = fused.rows(first..<first + piece)
          head.store(
            keys: rows.columns(width..<width + headSize), values: rows.columns(width + headSize..<width + 2 * headSize),
            at: first, scratch: scratch)
          pagedAttention(
            queries: rows.columns(0..<width), position: first, pages: head,
            output: output.rows(first..<first + piece), scratch: scratch)
          first += piece
        }
        #expect(first == tokens)
        return Array(UnsafeBufferPointer(start: output.floats, count: tokens * width))
      }
    }
  }

  static func pieces(_ tokens: Int, most: Int, using generator: inout SeededGenerator) -> [Int] {
    var pieces: [Int] = []
    var rest = tokens
    while rest > 0 {
      pieces.append(Int.random(in: 1...min(most, rest), using: &generator))
      rest -= pieces.last!
    }
    return pieces
  }

  @Test(
    "attention over pages agrees with the plain one, to the same bits in pieces of any length",
    arguments: [2, 12, 16, 20, 32, 48, 64, 128], [1, 2, 3])
  func attention(headSize: Int, group: Int) throws {
    var generator = SeededGenerator(seed: UInt64(headSize + group))
    for type in ElementType.allCases {
      for tokens in [1, 2, 17, 32, 33, 100, 300, 530] {
        let example = try Case(headSize: headSize, group: group, type: type, tokens: tokens, using: &generator)
        let whole = try example.attend([tokens], using: &generator)
        for most in [1, 5, 40, 600] {
          let pieces = Self.pieces(tokens, most: most, using: &generator)
          #expect(try example.attend(pieces, using: &generator) == whole, "\(type), \(tokens) tokens in \(pieces)")
        }
        let shape = Reference.AttentionShape(
          headCount: group, keyValueHeadCount: 1, headSize: headSize, documentOffsets: [0, tokens])
        let fused = UnsafeBufferPointer(start: example.fused.floats, count: tokens * (group + 2) * headSize)
        let expected = Reference.attentionForward(queriesKeysValues: fused.map(Double.init), shape)
        // A score is a sum of at most headSize products of up to 4, over √headSize; its error is one of the weights'. In
        // bfloat16 each weight is rounded to 8 bits, and their sum is not.
        let scoreError = 4 * Double(headSize).squareRoot() * (Double(headSize) + 8) * floatRoundoff
        let weightError = type == .bfloat16 ? 0x1p-8 : 0
        let error = 2 * (2 * scoreError + (Double(tokens) + 16) * floatRoundoff + weightError)
        expectClose(whole, expected, errors: expected.map { _ in error }, "\(type), \(tokens) tokens")
      }
    }
  }

  @Test("attention weights that are all alike, and scores that would overflow an exponential")
  func extremes() throws {
    for (query, expected) in [(Float(0), Float(1.5)), (1e18, 2)] {
      var generator = SeededGenerator(seed: 1)
      let example = try Case(headSize: 2, group: 1, type: .float32, tokens: 2, using: &generator)
      for (index, value) in [0, 0, 0, 0, 1, 1, query, 0, 1e18, 0, 2, 2].enumerated() {
        example.fused.floats[index] = value
      }
      #expect(try example.attend([1, 1], using: &generator).suffix(2) == [expected, expected])
    }
  }
}
