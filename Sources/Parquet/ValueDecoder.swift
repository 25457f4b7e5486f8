/// Values as they lie in a page one after another.
struct PlainDecoder {
  private let bytes: UnsafeRawBufferPointer
  private let leaf: SchemaLeaf
  private var position = 0
  /// Of the next yes or no.
  private var bit = 0

  init(_ bytes: UnsafeRawBufferPointer, _ leaf: SchemaLeaf) {
    self.bytes = bytes
    self.leaf = leaf
  }

  /// Where the next value's bytes are; of a yes or no a byte that is 0 or 1.
  mutating func next() throws(ParquetError) -> Value {
    switch leaf.type {
    case .boolean:
      guard bit >> 3 < bytes.count else { throw Self.end(leaf) }
      defer { bit += 1 }
      return .boolean(bytes[bit >> 3] >> UInt8(bit & 7) & 1 == 1)
    case .bytes:
      guard bytes.count - position >= 4 else { throw Self.end(leaf) }
      let count = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
      position += 4
      return .bytes(try take(count))
    case .int32, .int64, .int96, .float, .double, .fixedBytes: return .bytes(try take(leaf.width))
    }
  }

  private mutating func take(_ count: Int) throws(ParquetError) -> UnsafeRawBufferPointer {
    guard count <= bytes.count - position else { throw Self.end(leaf) }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  private static func end(_ leaf: SchemaLeaf) -> ParquetError {
    .damaged("a page of \"\(leaf.path.prefix(80))\" has fewer values than it says")
  }
}

/// A value that is valid as long as its page.
enum Value {
  case boolean(Bool)
  case bytes(UnsafeRawBufferPointer)
}

/// The values of a data page.
enum ValueDecoder {
  case plain(PlainDecoder)
  /// Numbers of values in the column's dictionary.
  case dictionary(RunDecoder, Dictionary)
  case booleans(RunDecoder)

  /// The values that those of a column's pages are numbers of.
  final class Dictionary {
    let values: [Value]
    private let page: PageBytes
    private let memory: PageMemory
    private let byteCount: Int

    init(
      _ page: PageBytes, count: Int, _ leaf: SchemaLeaf, _ memory: PageMemory
    ) throws(ParquetError) {
      guard leaf.type != .boolean, count <= page.bytes.count / max(1, leaf.type == .bytes ? 4 : leaf.width) else {
        throw .damaged("the dictionary of \"\(leaf.path.prefix(80))\" has fewer values than it says")
      }
      byteCount = count * MemoryLayout<Value>.stride
      try memory.take(byteCount)
      self.page = page
      self.memory = memory
      var decoder = PlainDecoder(page.bytes, leaf)
      var values: [Value] = []
      values.reserveCapacity(count)
      do throws(ParquetError) {
        for _ in 0..<count { values.append(try decoder.next()) }
      } catch {
        memory.giveBack(byteCount)
        throw error
      }
      self.values = values
    }

    deinit { memory.giveBack(byteCount) }
  }

  mutating func next() throws(ParquetError) -> Value {
    switch self {
    case .plain(var decoder):
      defer { self = .plain(decoder) }
      return try decoder.next()
    case .booleans(var decoder):
      defer { self = .booleans(decoder) }
      return .boolean(try decoder.next() == 1)
    case .dictionary(var decoder, let dictionary):
      defer { self = .dictionary(decoder, dictionary) }
      let index = Int(try decoder.next())
      guard index < dictionary.values.count else {
        throw .damaged("a value is number \(index) of a smaller dictionary")
      }
      return dictionary.values[index]
    }
  }
}
