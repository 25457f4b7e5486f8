/// Counts the fields of rows that nothing reads, block by block. Rows have the same fields in the same order as a rule, which
/// makes a field cost one comparison.
struct UnusedFields {
  private struct Field {
    let name: [UInt8]
    var count: Int
    let example: Tally<String>.Example
  }

  private static let mostFields = 64
  /// A field that fewer than one row in 64 of a block has is not counted by its name: names may be data, such as ids.
  private static let rarity = 64
  private static let rareFields = "fields that few rows have"

  /// Rows of the block so far.
  private var rows = 0
  private var fields: [Field] = []
  /// Where the next field is expected.
  private var next = 0
  /// Of blocks with very many different fields.
  private var rest = Tally<String>()

  mutating func add(_ name: UnsafeRawBufferPointer, _ example: @autoclosure () -> Tally<String>.Example) {
    let name = UnsafeRawBufferPointer(rebasing: name.prefix(100))
    func isCalled(_ index: Int) -> Bool { fields[index].name.withUnsafeBytes { name.hasSameBytes(as: $0) } }
    let index = next < fields.count && isCalled(next) ? next : fields.indices.first(where: isCalled)
    if let index {
      fields[index].count += 1
      next = index + 1 < fields.count ? index + 1 : 0
    } else if fields.count < Self.mostFields {
      fields.append(Field(name: Array(name), count: 1, example: example()))
    } else {
      rest.add(String(decoding: name, as: UTF8.self), example())
    }
  }

  mutating func endRow() {
    rows += 1
    next = 0
  }

  /// Moves the counts to `tally` and begins again.
  mutating func move(to tally: inout Tally<String>) {
    var rare = rest.count
    var firstRare = rest.sorted.last?.entry.first
    func add(_ name: String, _ count: Int, _ example: Tally<String>.Example, isInRest: Bool) {
      if count * Self.rarity < rows {
        if !isInRest { rare += count }
        if example.line < firstRare?.line ?? Int.max { firstRare = example }
      } else {
        if isInRest { rare -= count }
        tally.add(name, count: count, example)
      }
    }
    for field in fields {
      add(String(decoding: field.name, as: UTF8.self), field.count, field.example, isInRest: false)
    }
    for (name, entry) in rest.sorted { add(name, entry.count, entry.first, isInRest: true) }
    if rare > 0, let firstRare { tally.add(Self.rareFields, count: rare, firstRare) }
    self = UnusedFields()
  }
}
