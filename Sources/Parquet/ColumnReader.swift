/// The values of a column in one row group, page after page.
struct ColumnReader {
  /// A value or its absence, with what says where in the row it belongs.
  struct Entry {
    var repetition: Int
    var definition: Int
    /// Nil where an optional field on the way is absent.
    var value: Value?
  }

  private static let longestHeader = 1 << 20

  private let leaf: SchemaLeaf
  private let codec: PageCodec
  private let bytes: UnsafeRawBufferPointer
  private let memory: PageMemory
  private var position = 0
  /// Values of the chunk that no page has been read for.
  private var valuesLeft: Int
  /// Of the page in work.
  private var page: PageBytes?
  private var entriesLeft = 0
  private var repetitions: RunDecoder?
  private var definitions: RunDecoder?
  private var values: ValueDecoder?
  private var dictionary: ValueDecoder.Dictionary?
  /// The repetition level of the next value, once it is read.
  private var pendingRepetition: Int?

  /// - Parameter file: the bytes up to the footer.
  init(
    _ chunk: ParquetMetadata.Chunk, _ leaf: SchemaLeaf, file: UnsafeRawBufferPointer, memory: PageMemory
  ) throws(ParquetError) {
    self.leaf = leaf
    self.memory = memory
    guard let codec = PageCodec(rawValue: chunk.codec) else {
      throw .unsupported("columns that are compressed by \(PageCodec.name(chunk.codec))")
    }
    self.codec = codec
    var start = chunk.dataOffset
    if let dictionary = chunk.dictionaryOffset, dictionary >= 4 { start = min(start, dictionary) }
    guard start >= 4, start <= file.count, (0...file.count - start).contains(chunk.byteCount), chunk.valueCount >= 0
    else { throw .damaged("the column \"\(leaf.path.prefix(80))\" lies outside of the file") }
    bytes = UnsafeRawBufferPointer(rebasing: file[start..<start + chunk.byteCount])
    valuesLeft = chunk.valueCount
  }

  /// Whether all that the column says it has has been read.
  var isAtEnd: Bool { entriesLeft == 0 && valuesLeft == 0 }

  /// Calls `body` with each value of the next row, while its page is there.
  ///
  /// - Throws: `ParquetError` where there is none.
  mutating func nextRow(_ body: (Entry) throws(ParquetError) -> Void) throws(ParquetError) {
    var isFirst = true
    while true {
      if entriesLeft == 0 {
        guard try loadPage() else { break }
      }
      if leaf.repetition == 0 {
        try body(try next(repetition: 0))
        return
      }
      if pendingRepetition == nil { pendingRepetition = try Self.level(&repetitions, leaf.repetition, leaf) }
      guard let repetition = pendingRepetition else { break }
      guard isFirst == (repetition == 0) else {
        if isFirst { throw .damaged("a row of \"\(leaf.path.prefix(80))\" begins in the middle") }
        return
      }
      isFirst = false
      pendingRepetition = nil
      try body(try next(repetition: repetition))
    }
    guard !isFirst else { throw .damaged("the column \"\(leaf.path.prefix(80))\" has fewer rows than it says") }
  }

  private mutating func next(repetition: Int) throws(ParquetError) -> Entry {
    entriesLeft -= 1
    let definition = try Self.level(&definitions, leaf.definition, leaf)
    let value = definition == leaf.definition ? try values?.next() : nil
    return Entry(repetition: repetition, definition: definition, value: value)
  }

  private static func level(
    _ decoder: inout RunDecoder?, _ highest: Int, _ leaf: SchemaLeaf
  ) throws(ParquetError) -> Int {
    guard let level = try decoder?.next() else { return 0 }
    guard level <= highest else { throw .damaged("a level of \"\(leaf.path.prefix(80))\" is too high") }
    return Int(level)
  }

  // MARK: - Pages

  /// Goes on to the next page that has values.
  ///
  /// - Returns: false after the last.
  private mutating func loadPage() throws(ParquetError) -> Bool {
    while valuesLeft > 0 {
      guard position < bytes.count else {
        throw .damaged("the column \"\(leaf.path.prefix(80))\" has fewer values than it says")
      }
      let header = try PageHeader(
        UnsafeRawBufferPointer(rebasing: bytes[position..<min(bytes.count, position + Self.longestHeader)]))
      let start = position + header.headerByteCount
      guard header.byteCount >= 0, (0...bytes.count - start).contains(header.compressedByteCount) else {
        throw .damaged("a page of \"\(leaf.path.prefix(80))\" has an impossible size")
      }
      position = start + header.compressedByteCount
      let packed = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
      switch PageHeader.Kind(rawValue: header.kind) {
      case .data: try load(header, packed)
      case .dataV2: try loadV2(header, packed)
      case .dictionary:
        guard dictionary == nil, header.valueCount >= 0 else {
          throw .damaged("\"\(leaf.path.prefix(80))\" has two dictionaries")
        }
        try requirePlain(header.encoding)
        dictionary = try .init(
          PageBytes(packed, codec, count: header.byteCount, memory: memory), count: header.valueCount, leaf,
          memory)
        continue
      case .index: continue
      case nil: throw .damaged("a page of \"\(leaf.path.prefix(80))\" is of a kind that there is not")
      }
      guard (0...valuesLeft).contains(header.valueCount) else {
        throw .damaged("a page of \"\(leaf.path.prefix(80))\" has more values than the column")
      }
      valuesLeft -= header.valueCount
      entriesLeft = header.valueCount
      if entriesLeft > 0 { return true }
    }
    return false
  }

  private mutating func load(_ header: PageHeader, _ packed: UnsafeRawBufferPointer) throws(ParquetError) {
    // The page before gives its memory back first.
    (page, values) = (nil, nil)
    let page = try PageBytes(packed, codec, count: header.byteCount, memory: memory)
    var rest = page.bytes[...]
    func levels(_ highest: Int, _ encoding: Int) throws(ParquetError) -> RunDecoder? {
      guard highest > 0 else { return nil }
      guard encoding == Encoding.runs.rawValue else {
        throw .unsupported("levels written as \(Encoding.name(encoding))")
      }
      let bytes = UnsafeRawBufferPointer(rebasing: rest)
      guard bytes.count >= 4 else { throw damagedLevels }
      let count = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
      guard count <= bytes.count - 4 else { throw damagedLevels }
      rest = rest.dropFirst(4 + count)
      return try RunDecoder(UnsafeRawBufferPointer(rebasing: bytes[4..<4 + count]), width: bitWidth(highest))
    }
    repetitions = try levels(leaf.repetition, header.repetitionEncoding)
    definitions = try levels(leaf.definition, header.definitionEncoding)
    try setValues(UnsafeRawBufferPointer(rebasing: rest), header.encoding)
    self.page = page
  }

  private mutating func loadV2(_ header: PageHeader, _ packed: UnsafeRawBufferPointer) throws(ParquetError) {
    (page, values) = (nil, nil)
    let (first, second) = (header.repetitionByteCount, header.definitionByteCount)
    guard first >= 0, second >= 0, first <= packed.count, second <= packed.count - first,
      header.byteCount >= first + second
    else { throw damagedLevels }
    func levels(_ highest: Int, _ range: Range<Int>) throws(ParquetError) -> RunDecoder? {
      guard highest > 0 else { return nil }
      return try RunDecoder(UnsafeRawBufferPointer(rebasing: packed[range]), width: bitWidth(highest))
    }
    repetitions = try levels(leaf.repetition, 0..<first)
    definitions = try levels(leaf.definition, first..<first + second)
    let page = try PageBytes(
      UnsafeRawBufferPointer(rebasing: packed[(first + second)...]), header.isCompressed ? codec : .none,
      count: header.byteCount - first - second, memory: memory)
    try setValues(page.bytes, header.encoding)
    self.page = page
  }

  private mutating func setValues(_ bytes: UnsafeRawBufferPointer, _ encoding: Int) throws(ParquetError) {
    switch Encoding(rawValue: encoding) {
    case .plain: values = .plain(PlainDecoder(bytes, leaf))
    case .dictionary, .plainDictionary:
      guard let dictionary else { throw .damaged("\"\(leaf.path.prefix(80))\" lacks its dictionary") }
      // A page of nothing but absent values may have no bytes.
      guard let width = bytes.first else {
        values = .dictionary(try RunDecoder(bytes, width: 0), dictionary)
        return
      }
      values = .dictionary(
        try RunDecoder(UnsafeRawBufferPointer(rebasing: bytes.dropFirst()), width: Int(width)), dictionary)
    case .runs where leaf.type == .boolean:
      // Their length is before them.
      values = .booleans(try RunDecoder(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(4)), width: 1))
    case .runs, nil:
      throw .unsupported("values of \"\(leaf.path.prefix(80))\" written as \(Encoding.name(encoding))")
    }
  }

  private func requirePlain(_ encoding: Int) throws(ParquetError) {
    guard encoding == Encoding.plain.rawValue || encoding == Encoding.plainDictionary.rawValue else {
      throw .unsupported("a dictionary written as \(Encoding.name(encoding))")
    }
  }

  private var damagedLevels: ParquetError {
    .damaged("a page of \"\(leaf.path.prefix(80))\" is shorter than its levels")
  }

  private func bitWidth(_ highest: Int) -> Int { Int.bitWidth - highest.leadingZeroBitCount }
}
