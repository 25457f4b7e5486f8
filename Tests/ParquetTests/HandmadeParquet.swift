/// A value in Thrift's compact protocol.
indirect enum ThriftValue {
  case bool(Bool)
  case int(Int)
  case text(String)
  case list([ThriftValue])
  /// Values by the numbers of their fields, which ascend.
  case structure([(Int, ThriftValue)])

  private var kind: UInt8 {
    switch self {
    case .bool(let isTrue): isTrue ? 1 : 2
    case .int: 6
    case .text: 8
    case .list: 9
    case .structure: 12
    }
  }

  var bytes: [UInt8] {
    switch self {
    case .bool: return []
    case .int(let number): return variable(UInt64(bitPattern: Int64(number << 1 ^ number >> 63)))
    case .text(let text): return variable(UInt64(text.utf8.count)) + Array(text.utf8)
    case .list(let values):
      return [0xF0 | (values.first?.kind ?? 3)] + variable(UInt64(values.count)) + values.flatMap(\.bytes)
    case .structure(let fields):
      var (result, last) = ([UInt8](), 0)
      for (id, value) in fields {
        precondition((1...15).contains(id - last), "fields \(last) and \(id)")
        result += [UInt8(id - last) << 4 | value.kind] + value.bytes
        last = id
      }
      return result + [0]
    }
  }
}

/// A number in groups of seven bits, the low ones first.
func variable(_ number: UInt64) -> [UInt8] {
  number < 128 ? [UInt8(number)] : [UInt8(number & 127) | 128] + variable(number >> 7)
}

/// A file of one column in one row group and one page, in which each thing that it says of itself can be another.
struct HandmadeParquet {
  /// The fields of the schema below its root.
  var fields: [ThriftValue] = [HandmadeParquet.field("n", type: 1)]
  var rootChildren: Int?
  var path = ["n"]
  /// INT32.
  var type = 1
  var codec = 0
  var chunkRows = 3
  var groupRows = 3
  var fileRows = 3
  var offset = 4
  var chunkBytes: Int?
  var page: [UInt8] = HandmadeParquet.page(values: 3, content: [1, 0, 0, 0, 2, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])
  /// How long the description says that it is; nil for the truth.
  var footerBytes: UInt32?
  /// What the description has in place of its own.
  var footer: [UInt8]?

  /// A field of the schema; `fields` of `SchemaElement` may be added.
  static func field(
    _ name: String, type: Int? = nil, repetition: Int = 0, children: Int? = nil, converted: Int? = nil,
    logical: ThriftValue? = nil
  ) -> ThriftValue {
    var fields: [(Int, ThriftValue)] = []
    if let type { fields.append((1, .int(type))) }
    fields += [(3, .int(repetition)), (4, .text(name))]
    if let children { fields.append((5, .int(children))) }
    if let converted { fields.append((6, .int(converted))) }
    if let logical { fields.append((10, logical)) }
    return .structure(fields)
  }

  /// A data page of the first version, and its header.
  static func page(values: Int, encoding: Int = 0, content: [UInt8], says count: Int? = nil) -> [UInt8] {
    ThriftValue.structure([
      (1, .int(0)), (2, .int(count ?? content.count)), (3, .int(content.count)),
      (5, .structure([(1, .int(values)), (2, .int(encoding)), (3, .int(3)), (4, .int(3))])),
    ]).bytes + content
  }

  /// A data page of the second version, of levels alone.
  static func page(values: Int, repetitions: [UInt8], definitions: [UInt8]) -> [UInt8] {
    let count = repetitions.count + definitions.count
    return ThriftValue.structure([
      (1, .int(3)), (2, .int(count)), (3, .int(count)),
      (
        8,
        .structure([
          (1, .int(values)), (2, .int(values)), (3, .int(1)), (4, .int(0)), (5, .int(definitions.count)),
          (6, .int(repetitions.count)), (7, .bool(false)),
        ])
      ),
    ]).bytes + repetitions + definitions
  }

  var bytes: [UInt8] {
    let chunk = ThriftValue.structure([
      (2, .int(4)),
      (
        3,
        .structure([
          (1, .int(type)), (2, .list([.int(0)])), (3, .list(path.map { .text($0) })), (4, .int(codec)),
          (5, .int(chunkRows)), (6, .int(page.count)), (7, .int(chunkBytes ?? page.count)), (9, .int(offset)),
        ])
      ),
    ])
    let schema = [Self.field("schema", children: rootChildren ?? fields.count)] + fields
    let description =
      footer
      ?? ThriftValue.structure([
        (1, .int(1)), (2, .list(schema)), (3, .int(fileRows)),
        (4, .list([.structure([(1, .list([chunk])), (2, .int(page.count)), (3, .int(groupRows))])])),
      ]).bytes
    var result = Array("PAR1".utf8) + page + description
    withUnsafeBytes(of: (footerBytes ?? UInt32(description.count)).littleEndian) { result += $0 }
    return result + Array("PAR1".utf8)
  }
}
