import Foundation

/// The rows of a Parquet file as lines of JSON, one row group after another.
///
/// Text columns become texts; bytes that are not declared as text become `data:` URLs, as pictures are written; lists, structures
/// and maps become what they are in JSON, a map a list of objects with `key` and `value`. A number that is not finite is null.
/// Dates, times and decimals become the numbers or bytes in which they are stored.
///
/// Memory: a page of each column, at most `pageLimit` bytes together when decompressed, and a row that is refused from `rowLimit`
/// bytes on.
///
/// https://parquet.apache.org/docs/file-format/
package struct ParquetRows {
  package static let magic = Array("PAR1".utf8)
  private static let pageLimit = 1 << 30
  /// More than any row that is used may have.
  private static let rowLimit = 1 << 27
  private static let longestFooter = 1 << 26

  private let metadata: ParquetMetadata
  /// The file up to its footer.
  private let body: UnsafeRawBufferPointer
  private let memory = PageMemory(limit: pageLimit)
  private var group = 0
  private var rowsLeft = 0
  private var rowsInGroup = 0
  private var groupBytes = 0
  private var columns: [ColumnReader] = []
  /// Of the row in work, for each column: its values as JSON one after the other, and where each ends.
  private var texts: [[UInt8]] = []
  private var entries: [[(repetition: Int, definition: Int, end: Int)]] = []
  private var rowBytes = 0
  private var rowsRead = 0

  /// - Parameter file: all of it, which outlives this.
  /// - Throws: `ParquetError`.
  package init(_ file: UnsafeRawBufferPointer) throws(ParquetError) {
    guard file.count >= 12, file.prefix(4).elementsEqual(Self.magic) else {
      throw .damaged("it does not begin as a Parquet file")
    }
    guard !file.suffix(4).elementsEqual("PARE".utf8) else { throw .unsupported("an encrypted footer") }
    guard file.suffix(4).elementsEqual(Self.magic) else { throw .damaged("it does not end as a Parquet file") }
    let end = file.count - 8
    let count = Int(UInt32(littleEndian: file.loadUnaligned(fromByteOffset: end, as: UInt32.self)))
    guard count <= end - 4 else { throw .damaged("its description is longer than the file") }
    guard count <= Self.longestFooter else {
      throw .unsupported("a description of more than \(Self.longestFooter >> 20) MiB at its end")
    }
    metadata = try ParquetMetadata(UnsafeRawBufferPointer(rebasing: file[end - count..<end]))
    body = UnsafeRawBufferPointer(rebasing: file[..<(end - count)])
    texts = Array(repeating: [], count: metadata.schema.leaves.count)
    entries = Array(repeating: [], count: metadata.schema.leaves.count)
  }

  /// Bytes of the row groups that have been read, and of the part of the one in work.
  package private(set) var bytesRead = 0

  /// Appends the next row and a newline.
  ///
  /// - Returns: false after the last row.
  /// - Throws: `ParquetError`.
  package mutating func next(into line: inout [UInt8]) throws(ParquetError) -> Bool {
    while rowsLeft == 0 {
      guard group < metadata.groups.count else {
        guard rowsRead == metadata.rowCount else {
          throw .damaged("it has \(rowsRead) rows and says that there are \(metadata.rowCount)")
        }
        return false
      }
      try openGroup()
    }
    rowBytes = 0
    for (index, leaf) in metadata.schema.leaves.enumerated() { try readColumn(index, leaf) }
    line.append(UInt8(ascii: "{"))
    for (index, field) in metadata.schema.fields.enumerated() {
      if index > 0 { line.append(UInt8(ascii: ",")) }
      appendJSONText(field.name.utf8, to: &line)
      line.append(UInt8(ascii: ":"))
      try append(field, field.leaves.map { entries[$0].indices }, to: &line)
    }
    line += "}\n".utf8
    rowsLeft -= 1
    rowsRead += 1
    guard rowsLeft > 0 || columns.allSatisfy(\.isAtEnd) else {
      throw .damaged("row group \(group) has columns with more rows than it says")
    }
    bytesRead += groupBytes / max(1, rowsInGroup)
    return true
  }

  private mutating func openGroup() throws(ParquetError) {
    columns = []
    let description = try metadata.group(group)
    var columns: [ColumnReader] = []
    for (chunk, leaf) in zip(description.chunks, metadata.schema.leaves) {
      columns.append(try ColumnReader(chunk, leaf, file: body, memory: memory))
    }
    self.columns = columns
    group += 1
    (rowsLeft, rowsInGroup) = (description.rowCount, description.rowCount)
    // Each chunk lies in the file, so their sum is no more than as many files.
    groupBytes = description.chunks.reduce(0) { $0 + $1.byteCount }
  }

  private mutating func readColumn(_ index: Int, _ leaf: SchemaLeaf) throws(ParquetError) {
    var (text, ends) = (texts[index], entries[index])
    texts[index] = []
    entries[index] = []
    text.removeAll(keepingCapacity: true)
    ends.removeAll(keepingCapacity: true)
    var bytes = rowBytes
    try columns[index].nextRow { (entry) throws(ParquetError) in
      // Before it is written: a value may be as long as a page.
      bytes += MemoryLayout<(Int, Int, Int)>.size
      if case .bytes(let value) = entry.value { bytes += value.count }
      guard bytes <= Self.rowLimit else {
        throw .unsupported("a row of more than \(Self.rowLimit >> 20) MiB in \"\(leaf.path.prefix(80))\"")
      }
      if let value = entry.value { appendJSON(value, leaf, to: &text) }
      ends.append((entry.repetition, entry.definition, text.count))
    }
    rowBytes = bytes
    texts[index] = text
    entries[index] = ends
  }

  // MARK: - Rows of values

  /// - Parameter ranges: for each leaf below the field, which of its entries belong here.
  private func append(
    _ node: SchemaNode, _ ranges: [Range<Int>], to line: inout [UInt8]
  ) throws(ParquetError) {
    let first = node.leaves.lowerBound
    let definition = entries[first][ranges[0].lowerBound].definition
    switch node.repetition {
    case .required: try appendContent(node, ranges, to: &line)
    case .optional:
      if definition < node.definition { line += "null".utf8 } else { try appendContent(node, ranges, to: &line) }
    case .repeated:
      line.append(UInt8(ascii: "["))
      defer { line.append(UInt8(ascii: "]")) }
      guard definition >= node.definition else { return }
      let parts = zip(node.leaves, ranges).map { leaf, range in
        var starts = [range.lowerBound]
        for index in range.dropFirst() where entries[leaf][index].repetition <= node.repetitionLevel {
          starts.append(index)
        }
        return zip(starts, starts.dropFirst() + [range.upperBound]).map { $0..<$1 }
      }
      guard parts.allSatisfy({ $0.count == parts[0].count }) else {
        throw .damaged("the columns of \"\(node.name.prefix(40))\" have lists of different lengths")
      }
      for element in parts[0].indices {
        if element > 0 { line.append(UInt8(ascii: ",")) }
        try appendContent(node, parts.map { $0[element] }, to: &line)
      }
    }
  }

  private func appendContent(
    _ node: SchemaNode, _ ranges: [Range<Int>], to line: inout [UInt8]
  ) throws(ParquetError) {
    switch node.content {
    case .leaf(let leaf):
      guard ranges[0].count == 1 else {
        throw .damaged("\"\(node.name.prefix(40))\" has several values in place of one")
      }
      let index = ranges[0].lowerBound
      let start = index == 0 ? 0 : entries[leaf][index - 1].end
      let text = texts[leaf][start..<entries[leaf][index].end]
      if text.isEmpty { line += "null".utf8 } else { line += text }
    case .group(let children):
      if node.isTransparent { return try append(children[0], ranges, to: &line) }
      if node.annotation != .none, children.count == 1, children[0].repetition == .repeated {
        return try appendList(children[0], isMap: node.annotation == .map, ranges, of: node, to: &line)
      }
      line.append(UInt8(ascii: "{"))
      for (index, child) in children.enumerated() {
        if index > 0 { line.append(UInt8(ascii: ",")) }
        appendJSONText(child.name.utf8, to: &line)
        line.append(UInt8(ascii: ":"))
        try append(child, Self.ranges(of: child, ranges, in: node), to: &line)
      }
      line.append(UInt8(ascii: "}"))
    }
  }

  /// The elements of a list: what is in the repeated group between, unless older writers have left it out.
  private func appendList(
    _ repeated: SchemaNode, isMap: Bool, _ ranges: [Range<Int>], of node: SchemaNode, to line: inout [UInt8]
  ) throws(ParquetError) {
    guard case .group(let inner) = repeated.content, inner.count == 1, !isMap, repeated.name != "array",
      repeated.name != node.name + "_tuple"
    else { return try append(repeated, ranges, to: &line) }
    // The repeated group becomes its only field.
    var element = repeated
    element.isTransparent = true
    try append(element, ranges, to: &line)
  }

  private static func ranges(of child: SchemaNode, _ ranges: [Range<Int>], in node: SchemaNode) -> [Range<Int>] {
    let start = child.leaves.lowerBound - node.leaves.lowerBound
    return Array(ranges[start..<start + child.leaves.count])
  }
}

// MARK: - Values as JSON

/// Appends what a value is in JSON.
private func appendJSON(_ value: Value, _ leaf: SchemaLeaf, to text: inout [UInt8]) {
  func append(_ number: some Any) { text += "\(number)".utf8 }
  switch value {
  case .boolean(let isTrue): append(isTrue)
  case .bytes(let bytes):
    switch leaf.type {
    case .bytes where leaf.isText: appendJSONText(bytes, to: &text)
    case .int32:
      let number = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
      if leaf.isUnsigned { append(number) } else { append(Int32(bitPattern: number)) }
    case .int64:
      let number = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
      if leaf.isUnsigned { append(number) } else { append(Int64(bitPattern: number)) }
    case .float:
      let number = Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)))
      if number.isFinite { append(number) } else { text += "null".utf8 }
    case .double:
      let number = Double(bitPattern: UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)))
      if number.isFinite { append(number) } else { text += "null".utf8 }
    case .bytes, .fixedBytes, .int96, .boolean:
      text += "\"data:application/octet-stream;base64,".utf8
      text += Data(bytes).base64EncodedData()
      text.append(UInt8(ascii: "\""))
    }
  }
}
