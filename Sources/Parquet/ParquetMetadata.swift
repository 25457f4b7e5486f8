/// What a Parquet file says of itself at its end.
struct ParquetMetadata {
  /// A column of a row group.
  struct Chunk {
    var type = -1
    var codec = -1
    var path: [String] = []
    var valueCount = -1
    var byteCount = -1
    var dataOffset = -1
    var dictionaryOffset: Int?
  }

  struct RowGroup {
    var chunks: [Chunk] = []
    var rowCount = -1
  }

  private static let mostGroups = 1 << 20

  let schema: ParquetSchema
  let rowCount: Int
  /// Where each row group is described.
  let groups: [Range<Int>]
  private let footer: UnsafeRawBufferPointer

  init(_ footer: UnsafeRawBufferPointer) throws(ParquetError) {
    self.footer = footer
    var reader = ThriftReader(footer)
    var elements: [ParquetSchema.Element] = []
    var groups: [Range<Int>] = []
    var rows = -1
    var isEncrypted = false
    try reader.structure { (reader, id, kind) throws(ParquetError) in
      switch id {
      case 2:
        try reader.structures(kind, limit: ParquetSchema.mostFields, "fields") { (reader) throws(ParquetError) in
          elements.append(try Self.element(&reader))
        }
      case 3: rows = try reader.integer(kind)
      case 4:
        try reader.structures(kind, limit: Self.mostGroups, "row groups") { (reader) throws(ParquetError) in
          groups.append(try reader.skippedStructure())
        }
      case 8:
        isEncrypted = true
        return false
      default: return false
      }
      return true
    }
    guard !isEncrypted else { throw .unsupported("encrypted columns") }
    guard rows >= 0 else { throw .damaged("it does not say how many rows it has") }
    schema = try ParquetSchema(elements)
    rowCount = rows
    self.groups = groups
  }

  private static func element(_ reader: inout ThriftReader) throws(ParquetError) -> ParquetSchema.Element {
    var element = ParquetSchema.Element()
    try reader.structure { (reader, id, kind) throws(ParquetError) in
      switch id {
      case 1: element.type = try reader.integer(kind)
      case 2: element.width = try reader.integer(kind)
      case 3: element.repetition = try reader.integer(kind)
      case 4: element.name = try reader.text(kind)
      case 5: element.childCount = try reader.integer(kind)
      case 6: element.converted = try reader.integer(kind)
      case 10:
        guard kind == .structure else { throw .damaged("a logical type in its schema is none") }
        try reader.structure { (reader, id, kind) throws(ParquetError) in
          element.logical = id
          guard id == 10, kind == .structure else { return false }
          try reader.structure { (reader, id, kind) throws(ParquetError) in
            guard id == 2 else { return false }
            element.isUnsigned = !(try reader.boolean(kind))
            return true
          }
          return true
        }
      default: return false
      }
      return true
    }
    return element
  }

  /// The description of a row group: a chunk for each leaf of the schema.
  func group(_ number: Int) throws(ParquetError) -> RowGroup {
    var reader = ThriftReader(UnsafeRawBufferPointer(rebasing: footer[groups[number]]))
    var group = RowGroup()
    try reader.structure { (reader, id, kind) throws(ParquetError) in
      switch id {
      case 1:
        try reader.structures(kind, limit: ParquetSchema.mostFields, "columns") { (reader) throws(ParquetError) in
          group.chunks.append(try Self.chunk(&reader))
        }
      case 3: group.rowCount = try reader.integer(kind)
      default: return false
      }
      return true
    }
    guard group.chunks.count == schema.leaves.count, group.rowCount >= 0 else {
      throw .damaged("row group \(number + 1) has \(group.chunks.count) of \(schema.leaves.count) columns")
    }
    for (chunk, leaf) in zip(group.chunks, schema.leaves) {
      guard chunk.type == leaf.type.rawValue, chunk.path.joined(separator: ".") == leaf.path else {
        throw .damaged("row group \(number + 1) has another column in place of \"\(leaf.path.prefix(80))\"")
      }
    }
    return group
  }

  private static func chunk(_ reader: inout ThriftReader) throws(ParquetError) -> Chunk {
    var chunk = Chunk()
    try reader.structure { (reader, id, kind) throws(ParquetError) in
      switch id {
      case 1: throw .unsupported("columns in other files")
      case 3:
        guard kind == .structure else { throw .damaged("a column has no description") }
        try reader.structure { (reader, id, kind) throws(ParquetError) in try describe(&chunk, &reader, id, kind) }
      case 8: throw .unsupported("encrypted columns")
      default: return false
      }
      return true
    }
    return chunk
  }

  private static func describe(
    _ chunk: inout Chunk, _ reader: inout ThriftReader, _ id: Int, _ kind: ThriftReader.Kind
  ) throws(ParquetError) -> Bool {
    switch id {
    case 1: chunk.type = try reader.integer(kind)
    case 3: chunk.path = try reader.texts(kind, limit: ParquetSchema.deepest)
    case 4: chunk.codec = try reader.integer(kind)
    case 5: chunk.valueCount = try reader.integer(kind)
    case 7: chunk.byteCount = try reader.integer(kind)
    case 9: chunk.dataOffset = try reader.integer(kind)
    case 11: chunk.dictionaryOffset = try reader.integer(kind)
    default: return false
    }
    return true
  }
}
