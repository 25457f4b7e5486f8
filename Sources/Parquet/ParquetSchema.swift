/// How a value is stored.
enum PhysicalType: Int {
  case boolean, int32, int64, int96, float, double, bytes, fixedBytes

  /// Bytes of a number; nil for bits and texts.
  var width: Int? {
    switch self {
    case .int32, .float: 4
    case .int64, .double: 8
    case .int96: 12
    case .boolean, .bytes, .fixedBytes: nil
    }
  }
}

/// A field of the schema, which is a tree.
///
/// A value's definition level says how many of the optional and repeated fields on the way to it are there, and its
/// repetition level at which repeated field a list goes on (Melnik et al. 2010, "Dremel").
struct SchemaNode {
  enum Repetition: Int { case required, optional, repeated }
  enum Content {
    /// Its number among all leaves.
    case leaf(Int)
    case group([SchemaNode])
  }
  enum Annotation { case none, list, map }

  var name: String
  var repetition: Repetition
  var content: Content
  var annotation: Annotation
  /// The levels of a value that is there.
  var definition: Int
  var repetitionLevel: Int
  /// Of the leaves below it.
  var leaves: Range<Int>
  /// Whether its only child stands for it, as in the lists of most writers.
  var isTransparent = false
}

/// A column of values.
struct SchemaLeaf {
  var path: String
  var type: PhysicalType
  /// Bytes of a value of `fixedBytes`.
  var width: Int
  var isText: Bool
  var isUnsigned: Bool
  /// The highest levels of its values.
  var definition: Int
  var repetition: Int
}

/// The columns of a file.
struct ParquetSchema {
  static let mostFields = 4096
  static let deepest = 24

  private(set) var fields: [SchemaNode] = []
  private(set) var leaves: [SchemaLeaf] = []

  /// A field as the file has it, before its children.
  struct Element {
    var type: Int?
    var width = 0
    var repetition = 0
    var name = ""
    var childCount = 0
    var converted: Int?
    /// The field of the union `LogicalType` that is set, and of its integers whether they have no sign.
    var logical: Int?
    var isUnsigned = false
  }

  init(_ elements: [Element]) throws(ParquetError) {
    guard let root = elements.first, root.childCount > 0 else { throw .damaged("there are no columns in its schema") }
    var next = 1
    for _ in 0..<root.childCount {
      fields.append(try node(elements, &next, path: [], definition: 0, repetition: 0))
    }
    guard next == elements.count else { throw .damaged("its schema has fields without a place") }
  }

  private mutating func node(
    _ elements: [Element], _ next: inout Int, path: [String], definition: Int, repetition: Int
  ) throws(ParquetError) -> SchemaNode {
    guard next < elements.count else { throw .damaged("its schema ends too early") }
    guard path.count < Self.deepest else { throw .unsupported("a schema of more than \(Self.deepest) levels") }
    let element = elements[next]
    next += 1
    guard let kind = SchemaNode.Repetition(rawValue: element.repetition) else {
      throw .damaged("\"\(element.name.prefix(40))\" in its schema is neither required nor optional nor repeated")
    }
    let path = path + [element.name]
    let definition = definition + (kind == .required ? 0 : 1)
    let repetition = repetition + (kind == .repeated ? 1 : 0)
    let first = leaves.count
    let content: SchemaNode.Content
    if element.childCount > 0 {
      guard element.childCount <= elements.count - next else { throw .damaged("its schema ends too early") }
      var children: [SchemaNode] = []
      for _ in 0..<element.childCount {
        children.append(try node(elements, &next, path: path, definition: definition, repetition: repetition))
      }
      content = .group(children)
    } else {
      leaves.append(
        try Self.leaf(
          element, path: path.joined(separator: "."), definition: definition, repetition: repetition))
      content = .leaf(first)
    }
    return SchemaNode(
      name: element.name, repetition: kind, content: content, annotation: Self.annotation(element),
      definition: definition, repetitionLevel: repetition, leaves: first..<leaves.count)
  }

  private static func annotation(_ element: Element) -> SchemaNode.Annotation {
    // LogicalType LIST and MAP; ConvertedType LIST, MAP and MAP_KEY_VALUE.
    if element.logical == 3 || element.converted == 3 { return .list }
    return element.logical == 2 || element.converted == 1 || element.converted == 2 ? .map : .none
  }

  private static func leaf(
    _ element: Element, path: String, definition: Int, repetition: Int
  ) throws(ParquetError) -> SchemaLeaf {
    guard let code = element.type, let type = PhysicalType(rawValue: code) else {
      throw .damaged("\"\(path.prefix(80))\" in its schema has no type that there is")
    }
    if type == .fixedBytes {
      guard (1...1 << 20).contains(element.width) else {
        throw .damaged("\"\(path.prefix(80))\" in its schema has values of \(element.width) bytes")
      }
    }
    return SchemaLeaf(
      path: path, type: type, width: type == .fixedBytes ? element.width : type.width ?? 0,
      // LogicalType STRING, ENUM, JSON; ConvertedType UTF8, ENUM, JSON.
      isText: type == .bytes && ([1, 4, 12].contains(element.logical) || [0, 4, 19].contains(element.converted)),
      // ConvertedType UINT_8 to UINT_64.
      isUnsigned: element.isUnsigned || (11...14).contains(element.converted ?? -1),
      definition: definition, repetition: repetition)
  }
}
