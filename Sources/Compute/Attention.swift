import CKernels
import Model

/// The shape of grouped-query attention on a fused matrix.
///
/// A row of queries, keys and values holds the queries of all heads, then the keys, then the values of all key/value
/// heads, each `headSize` elements. `headCount / keyValueHeadCount` query heads next to each other share a key/value head.
package struct AttentionShape: Sendable, Equatable {
  package var headCount: Int
  package var keyValueHeadCount: Int
  package var headSize: Int
  /// Whether a token sees itself and those before it, rather than its whole document.
  package var isCausal: Bool

  package init(headCount: Int, keyValueHeadCount: Int, headSize: Int, isCausal: Bool = true) {
    precondition(
      keyValueHeadCount > 0 && headCount > 0 && headCount % keyValueHeadCount == 0 && headSize > 0 && headSize % 2 == 0,
      "attention with \(headCount) heads over \(keyValueHeadCount), each of \(headSize)")
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headSize = headSize
    self.isCausal = isCausal
  }

  /// Query heads that share a key/value head.
  package var groupSize: Int { headCount / keyValueHeadCount }
  /// Columns of the fused matrix.
  package var fusedWidth: Int { (headCount + 2 * keyValueHeadCount) * headSize }
  /// Columns of the output.
  package var outputWidth: Int { headCount * headSize }
}

/// The unit of work that is divided among workers: one document and one key/value head with all its query heads.
///
/// Both directions compute with queries in the lanes of a vector and keys in rows: a tile of scores is [keys, lanes].
/// So the softmax over keys needs no sums across lanes, and the query heads of a group lie side by side in the lanes and
/// use each key that is loaded. A vector holds 16 consecutive queries of one head; a tile of queries is a few such
/// vectors, ordered by position first and head second: those that a key in the middle of the tile reaches are then
/// the last ones, and the others are left out.
struct AttentionGroup {
  let shape: AttentionShape
  let type: ElementType
  /// The matrix row of the document's first token.
  let firstToken: Int
  /// Tokens of the document.
  let length: Int
  let keyValueHead: Int
  /// 1/√headSize: what scores are multiplied with.
  let scale: Float

  init(
    _ shape: AttentionShape, _ type: ElementType, documents: UnsafeBufferPointer<Int32>, keyValueHead: Int,
    document: Int,
    rows: Int, scratch: AttentionScratch
  ) {
    precondition(document >= 0 && document < documents.count - 1, "document \(document) of \(documents.count - 1)")
    let first = Int(documents[document])
    let end = Int(documents[document + 1])
    precondition(first >= 0 && first <= end && end <= rows, "a document of rows \(first)..<\(end) of \(rows)")
    precondition(
      keyValueHead >= 0 && keyValueHead < shape.keyValueHeadCount,
      "key/value head \(keyValueHead) of \(shape.keyValueHeadCount)")
    precondition(
      scratch.shape == shape && end - first <= scratch.maximumSequenceLength,
      "\(shape) and \(end - first) tokens with scratch for \(scratch.shape) and \(scratch.maximumSequenceLength)")
    self.shape = shape
    self.type = type
    self.keyValueHead = keyValueHead
    scale = 1 / Float(shape.headSize).squareRoot()
    firstToken = first
    length = end - first
  }

  var isBFloat16: Bool { type == .bfloat16 }
  /// Elements in a unit of four bytes.
  var unitElements: Int { isBFloat16 ? 2 : 1 }
  /// Units in a row of a head.
  var headUnits: Int { shape.headSize / unitElements }

  /// Units that hold `count` elements, the last perhaps half empty.
  func units(_ count: Int) -> Int { (count + unitElements - 1) / unitElements }

  /// The scale with which the softmax is a power of two: e^(scale·s) = 2^(powerScale·s).
  var powerScale: Float { scale * 1.44269504 }

  /// The query head of a vector of a tile.
  func head(_ vector: Int) -> Int { keyValueHead * shape.groupSize + vector % shape.groupSize }

  var keyColumn: Int { (shape.headCount + keyValueHead) * shape.headSize }
  var valueColumn: Int { keyColumn + shape.keyValueHeadCount * shape.headSize }

  /// The head that begins at a column, in the row of a token of the document.
  func address(_ matrix: MatrixView, token: Int, column: Int) -> UnsafeMutableRawPointer {
    matrix.row(firstToken + token) + column * type.byteCount
  }

  /// Prefetches some columns of `count` rows, from a token of the document on, up to the document's end.
  ///
  /// A head's rows lie a whole row of the matrix apart, each in another page or nearly so. The processor sees no stream
  /// to follow and would wait for every one of them.
  func prefetch(_ matrix: MatrixView, token: Int, count: Int, column: Int, columns: Int, forWriting: Bool) {
    guard token < length else { return }
    ckPrefetch(
      address(matrix, token: token, column: column), matrix.rowStride * type.byteCount, min(count, length - token),
      columns * type.byteCount, forWriting)
  }

  /// Prefetches some keys and values.
  func prefetchKeysAndValues(_ matrix: MatrixView, token: Int, count: Int, forWriting: Bool = false) {
    prefetch(matrix, token: token, count: count, column: keyColumn, columns: shape.headSize, forWriting: forWriting)
    prefetch(matrix, token: token, count: count, column: valueColumn, columns: shape.headSize, forWriting: forWriting)
  }

  /// Prefetches some rows of all query heads of the group.
  func prefetchQueries(_ matrix: MatrixView, token: Int, count: Int, forWriting: Bool = false) {
    prefetch(
      matrix, token: token, count: count, column: head(0) * shape.headSize, columns: shape.groupSize * shape.headSize,
      forWriting: forWriting)
  }
}

/// Some consecutive queries of all heads of a group, and the keys that they reach.
struct QueryTile {
  /// The first query, counted from the document's start; a multiple of the tile's size.
  let first: Int
  let group: AttentionGroup
  /// Pieces of 16 queries.
  let pieces: Int
  /// Vectors of 16 lanes: the pieces of every head.
  let vectors: Int
  /// The keys that any of the queries reaches, from the document's start.
  let keyEnd: Int

  init(_ group: AttentionGroup, first: Int, maximumPieces: Int) {
    self.first = first
    self.group = group
    pieces = min(maximumPieces, (group.length - first + 15) / 16)
    vectors = pieces * group.shape.groupSize
    keyEnd = group.shape.isCausal ? min(group.length, first + 16 * pieces) : group.length
  }

  /// The position of a vector's first query in the document.
  func query(_ vector: Int) -> Int { first + 16 * (vector / group.shape.groupSize) }

  /// The queries in a vector: 16 except at the document's end.
  func queryCount(_ vector: Int) -> Int { min(16, group.length - query(vector)) }

  /// The end of the keys within a block that a vector reaches.
  func keyEnd(_ vector: Int, in block: Range<Int>) -> Int {
    group.shape.isCausal ? min(block.upperBound, query(vector) + 16) : block.upperBound
  }

  /// Calls `body` with ranges of keys that together make up the block, each with the first vector that reaches them.
  ///
  /// Before the tile's own queries every vector reaches every key; within them, 16 keys at a time, ever fewer do.
  @inline(__always)
  func forEachStep(of block: Range<Int>, _ body: (_ keys: Range<Int>, _ firstVector: Int) -> Void) {
    if !group.shape.isCausal { return body(block, 0) }
    var start = block.lowerBound
    for piece in 0..<pieces {
      let end = min(block.upperBound, first + 16 * (piece + 1))
      if start < end {
        body(start..<end, piece * group.shape.groupSize)
        start = end
      }
    }
  }
}
