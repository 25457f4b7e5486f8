/// A stack machine for the pickles that `torch.save` writes of a model's weights. Nothing in a pickle is ever executed.
///
/// Python's pickles are programs: they may name any function and call it. This machine knows the opcodes that a
/// dictionary of tensors needs and the names in `PickleGlobal`; everything else is refused with its place. Values live in
/// one array and refer to each other by index, so that no depth of nesting and no cycle can hurt, and memory is a small
/// multiple of the pickle's size.
///
/// Opcodes: protocol 2 of Python's Lib/pickle.py, those that torch/_weights_only_unpickler.py accepts.
package struct PickleReader {
  /// A value, by its place in `values`.
  package typealias Index = Int

  package enum Value {
    case none
    case boolean(Bool)
    case integer(Int)
    case number
    case text(String)
    case tuple([Index])
    case list([Index])
    case dictionary([(key: Index, value: Index)])
    case global(PickleGlobal)
    indirect case storage(TorchStorage)
    indirect case tensor(StridedTensor)
  }

  /// What is refused, and its byte position in the pickle.
  package struct Fault: Error, Equatable {
    package var offset: Int
    package var text: String
  }

  /// The largest pickle accepted, enough for ten thousand tensors.
  package static let maximumByteCount = 2 << 20

  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var values: [Value] = []
  private var stack: [Index] = []
  /// The height of the stack at each open mark.
  private var marks: [Int] = []
  private var memo: [Int: Index] = [:]

  /// The members of the dictionary that the pickle in `bytes` describes, in its order.
  ///
  /// - Throws: `Fault`.
  package static func dictionary(_ bytes: UnsafeRawBufferPointer) throws(Fault) -> [(key: Value, value: Value)] {
    guard bytes.count <= maximumByteCount else {
      throw Fault(offset: 0, text: "\(bytes.count) bytes are more than the description of any model takes")
    }
    var reader = PickleReader(bytes: bytes)
    let result = try reader.run()
    guard case .dictionary(let members) = reader.values[result] else {
      throw Fault(offset: bytes.count, text: "the pickle holds no dictionary of weights")
    }
    return members.map { (reader.values[$0.key], reader.values[$0.value]) }
  }

  private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  // MARK: - The machine

  private mutating func run() throws(Fault) -> Index {
    while true {
      let start = position
      let code = try byte()
      switch code {
      case UInt8(ascii: "."):
        guard marks.isEmpty, stack.count == 1 else { throw fault("the pickle ends with \(stack.count) values", start) }
        return stack[0]
      case 0x80:  // PROTO
        let version = try byte()
        guard version <= 5 else { throw fault("pickle protocol \(version) is not known", start) }
      case UInt8(ascii: "("): marks.append(stack.count)
      case UInt8(ascii: "N"): push(.none)
      case 0x88: push(.boolean(true))
      case 0x89: push(.boolean(false))
      case UInt8(ascii: "K"): push(.integer(Int(try byte())))
      case UInt8(ascii: "M"): push(.integer(Int(try integer(UInt16.self))))
      case UInt8(ascii: "J"): push(.integer(Int(try integer(Int32.self))))
      case 0x8A: push(.integer(try longInteger(start)))
      case UInt8(ascii: "G"):  // BINFLOAT: no weight's description has one that matters
        _ = try take(8)
        push(.number)
      case UInt8(ascii: "X"): push(.text(try text(Int(try integer(UInt32.self)), start)))
      case 0x8C, UInt8(ascii: "U"): push(.text(try text(Int(try byte()), start)))
      case UInt8(ascii: ")"): push(.tuple([]))
      case 0x85, 0x86, 0x87: push(.tuple(try popLast(Int(code) - 0x84, start)))
      case UInt8(ascii: "t"): push(.tuple(try popToMark(start)))
      case UInt8(ascii: "]"): push(.list([]))
      case UInt8(ascii: "a"): try append(try popLast(1, start), start)
      case UInt8(ascii: "e"): try append(try popToMark(start), start)
      case UInt8(ascii: "}"): push(.dictionary([]))
      case UInt8(ascii: "s"): try setItems(try popLast(2, start), start)
      case UInt8(ascii: "u"): try setItems(try popToMark(start), start)
      case UInt8(ascii: "q"): try remember(Int(try byte()), start)
      case UInt8(ascii: "r"): try remember(Int(try integer(UInt32.self)), start)
      case UInt8(ascii: "h"): try recall(Int(try byte()), start)
      case UInt8(ascii: "j"): try recall(Int(try integer(UInt32.self)), start)
      case UInt8(ascii: "c"): try pushGlobal(start)
      case UInt8(ascii: "Q"): try pushStorage(start)
      case UInt8(ascii: "R"): try call(start)
      case UInt8(ascii: "b"): try build(start)
      default: throw fault("the pickle asks for opcode \(Self.name(code)), which no file of weights needs", start)
      }
    }
  }

  private static func name(_ code: UInt8) -> String {
    let hexadecimal = String(code, radix: 16, uppercase: true)
    let character = (0x21...0x7E).contains(code) ? " ('\(Character(Unicode.Scalar(code)))')" : ""
    return "0x" + (hexadecimal.count == 1 ? "0" : "") + hexadecimal + character
  }

  private func fault(_ text: String, _ offset: Int) -> Fault { Fault(offset: offset, text: text) }

  // MARK: - Reading

  private mutating func take(_ count: Int) throws(Fault) -> UnsafeRawBufferPointer {
    guard count <= bytes.count - position else { throw fault("the pickle is cut off", position) }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  private mutating func byte() throws(Fault) -> UInt8 { try take(1)[0] }

  private mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(_: Number.Type) throws(Fault) -> Number {
    Number(littleEndian: try take(MemoryLayout<Number>.size).loadUnaligned(as: Number.self))
  }

  /// LONG1: a length, and that many bytes of a little-endian number in two's complement.
  private mutating func longInteger(_ start: Int) throws(Fault) -> Int {
    let count = Int(try byte())
    guard count <= 8 else { throw fault("a number of \(count) bytes is too large", start) }
    let digits = try take(count)
    var result = digits.last.map { $0 >= 0x80 ? -1 : 0 } ?? 0
    for digit in digits.reversed() { result = result << 8 | Int(digit) }
    return result
  }

  private mutating func text(_ count: Int, _ start: Int) throws(Fault) -> String {
    guard let text = String(validating: try take(count), as: UTF8.self) else {
      throw fault("a text is not valid UTF-8", start)
    }
    return text
  }

  /// The rest of the line.
  private mutating func line(_ start: Int) throws(Fault) -> String {
    guard let end = bytes[position...].prefix(256).firstIndex(of: UInt8(ascii: "\n")) else {
      throw fault("a name does not end", start)
    }
    let line = try text(end - position, start)
    position += 1
    return line
  }

  // MARK: - The stack

  private mutating func push(_ value: Value) {
    stack.append(values.count)
    values.append(value)
  }

  /// The values above the last open mark, which may not be taken without closing it.
  private var available: Int { stack.count - (marks.last ?? 0) }

  private mutating func popLast(_ count: Int, _ start: Int) throws(Fault) -> [Index] {
    guard available >= count else { throw fault("the pickle takes more values than it has", start) }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popToMark(_ start: Int) throws(Fault) -> [Index] {
    guard let height = marks.popLast() else { throw fault("the pickle closes a group that it did not open", start) }
    defer { stack.removeLast(stack.count - height) }
    return Array(stack[height...])
  }

  private func top(_ start: Int) throws(Fault) -> Index {
    guard available >= 1 else { throw fault("the pickle takes more values than it has", start) }
    return stack[stack.count - 1]
  }

  private mutating func remember(_ key: Int, _ start: Int) throws(Fault) { memo[key] = try top(start) }

  private mutating func recall(_ key: Int, _ start: Int) throws(Fault) {
    guard let index = memo[key] else { throw fault("the pickle recalls value \(key), which it did not store", start) }
    stack.append(index)
  }

  private mutating func append(_ items: [Index], _ start: Int) throws(Fault) {
    let target = try top(start)
    guard case .list(var list) = values[target] else { throw fault("the pickle appends to what is no list", start) }
    // Takes the array out of `values` first, so that it grows in place.
    values[target] = .none
    list += items
    values[target] = .list(list)
  }

  private mutating func setItems(_ items: [Index], _ start: Int) throws(Fault) {
    let target = try top(start)
    guard case .dictionary(var members) = values[target], items.count % 2 == 0 else {
      throw fault("the pickle sets members of what is no dictionary", start)
    }
    values[target] = .none
    for item in stride(from: 0, to: items.count, by: 2) { members.append((items[item], items[item + 1])) }
    values[target] = .dictionary(members)
  }

  // MARK: - Tensors

  /// GLOBAL: a name, from the list of those allowed.
  private mutating func pushGlobal(_ start: Int) throws(Fault) {
    let module = try line(start)
    let name = try line(start)
    guard let global = PickleGlobal(module: module, name: name) else {
      throw fault("the pickle asks for \(module).\(name), which no file of weights needs; it was not run", start)
    }
    push(.global(global))
  }

  /// BINPERSID: `('storage', type, key, device, element count)`.
  private mutating func pushStorage(_ start: Int) throws(Fault) {
    let identifier = try popLast(1, start)[0]
    guard case .tuple(let parts) = values[identifier], parts.count == 5, case .text("storage") = values[parts[0]],
      case .global(.storage(let type)) = values[parts[1]], case .text(let key) = values[parts[2]],
      case .integer(let count) = values[parts[4]], count >= 0
    else { throw fault("a reference does not lead to a tensor's storage", start) }
    push(.storage(TorchStorage(key: key, type: type, count: count)))
  }

  /// REDUCE: a call of one of the three functions that are known, each of which only describes a tensor.
  private mutating func call(_ start: Int) throws(Fault) {
    let operands = try popLast(2, start)
    guard case .global(let function) = values[operands[0]], case .tuple(let arguments) = values[operands[1]] else {
      throw fault("the pickle calls what is no function", start)
    }
    switch function {
    case .orderedDictionary where arguments.isEmpty: push(.dictionary([]))
    case .rebuildParameter:
      guard arguments.count == 3, case .tensor(let tensor) = values[arguments[0]] else {
        throw fault("a parameter is no tensor", start)
      }
      push(.tensor(tensor))
    case .rebuildTensor:
      guard arguments.count >= 6, case .storage(let storage) = values[arguments[0]],
        case .integer(let offset) = values[arguments[1]], case .tuple(let sizes) = values[arguments[2]],
        case .tuple(let strides) = values[arguments[3]],
        let tensor = StridedTensor(
          storage: storage, offset: offset, sizes: integers(sizes), strides: integers(strides))
      else { throw fault("a tensor has an impossible shape, or lies outside its storage", start) }
      push(.tensor(tensor))
    default: throw fault("the pickle calls what is no function of tensors", start)
    }
  }

  private func integers(_ indices: [Index]) -> [Int?] {
    indices.map { if case .integer(let value) = values[$0] { value } else { nil } }
  }

  /// BUILD: PyTorch gives a dictionary of weights its versions (`_metadata`), which say nothing of the weights.
  private mutating func build(_ start: Int) throws(Fault) {
    _ = try popLast(1, start)
    guard case .dictionary = values[try top(start)] else {
      throw fault("the pickle sets the state of an object, and weights have none", start)
    }
  }
}
