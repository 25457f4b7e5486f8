/// Text as Python sees it, a row of code points, with the origin of each: the template's own text or a value's.
///
/// The origin survives whatever a template does to text: a piece of a user's message stays content when it is stripped, cut,
/// put into upper case, joined or written as JSON. A tokenizer may then read control tokens in the template's text alone.
struct TemplateText: Sendable {
  /// A stretch of one origin, up to `end`, from where the run before it ends.
  struct Run: Sendable, Equatable {
    var end: Int
    var isContent: Bool
  }

  private(set) var scalars: [Unicode.Scalar] = []
  /// In order, neighbours of different origin, the last one ending at `count`; none of an empty text.
  private(set) var runs: [Run] = []
  /// Python's `Markup`: what is added to such a text is escaped for HTML first.
  var isSafe = false

  init() {}

  init(_ text: String, isContent: Bool = false) {
    self.init(Array(text.unicodeScalars), isContent: isContent)
  }

  init(_ scalars: [Unicode.Scalar], isContent: Bool) {
    self.scalars = scalars
    if !scalars.isEmpty { runs = [Run(end: scalars.count, isContent: isContent)] }
  }

  var count: Int { scalars.count }
  var isEmpty: Bool { scalars.isEmpty }
  subscript(index: Int) -> Unicode.Scalar { scalars[index] }

  var string: String { Self.string(scalars[...]) }

  static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(scalars.count)
    for scalar in scalars {
      if scalar.value < 0x80 {
        bytes.append(UInt8(scalar.value))
      } else {
        bytes.append(contentsOf: UTF8.encode(scalar)!)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The number of the run that holds `index`.
  private func run(at index: Int) -> Int {
    var (low, high) = (0, runs.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].end > index { high = middle } else { low = middle + 1 }
    }
    return low
  }

  func isContent(at index: Int) -> Bool { runs[run(at: index)].isContent }

  mutating func append(_ scalar: Unicode.Scalar, isContent: Bool) {
    scalars.append(scalar)
    extendRuns(isContent: isContent)
  }

  /// The origin of the scalars that were added last.
  private mutating func extendRuns(isContent: Bool) {
    if let last = runs.indices.last, runs[last].isContent == isContent {
      runs[last].end = scalars.count
    } else {
      runs.append(Run(end: scalars.count, isContent: isContent))
    }
  }

  mutating func append(_ text: String, isContent: Bool = false) {
    if text.isEmpty { return }
    scalars.append(contentsOf: text.unicodeScalars)
    extendRuns(isContent: isContent)
  }

  mutating func append(_ other: TemplateText) { append(other, 0..<other.count) }

  mutating func append(_ other: TemplateText, _ range: Range<Int>) {
    if range.isEmpty { return }
    let shift = scalars.count - range.lowerBound
    scalars.append(contentsOf: other.scalars[range])
    var index = other.run(at: range.lowerBound)
    while true {
      let run = other.runs[index]
      let end = min(run.end, range.upperBound) + shift
      if let last = runs.indices.last, runs[last].isContent == run.isContent {
        runs[last].end = end
      } else {
        runs.append(Run(end: end, isContent: run.isContent))
      }
      if run.end >= range.upperBound { return }
      index += 1
    }
  }

  subscript(range: Range<Int>) -> TemplateText {
    if range == 0..<count { return self }
    var part = TemplateText()
    part.isSafe = isSafe
    part.append(self, range)
    return part
  }

  /// Each scalar replaced by what `body` makes of it, of the same origin.
  func map(_ body: (Unicode.Scalar, _ index: Int) -> String?) -> TemplateText {
    var result = TemplateText()
    result.isSafe = isSafe
    var start = 0
    for run in runs {
      for index in start..<run.end {
        if let text = body(scalars[index], index) {
          result.append(text, isContent: run.isContent)
        } else {
          result.append(scalars[index], isContent: run.isContent)
        }
      }
      start = run.end
    }
    return result
  }

  /// The text in pieces of one origin each.
  var pieces: [RenderedText.Piece] {
    var start = 0
    return runs.map { run in
      defer { start = run.end }
      return RenderedText.Piece(text: Self.string(scalars[start..<run.end]), isContent: run.isContent)
    }
  }

  static func + (left: TemplateText, right: TemplateText) -> TemplateText {
    var result = left
    result.append(right)
    return result
  }
}

/// Equal and ordered by code points, whatever the origin, as Python's.
extension TemplateText: Hashable, Comparable {
  static func == (left: TemplateText, right: TemplateText) -> Bool { left.scalars == right.scalars }
  func hash(into hasher: inout Hasher) { hasher.combine(scalars) }
  static func < (left: TemplateText, right: TemplateText) -> Bool {
    left.scalars.lexicographicallyPrecedes(right.scalars)
  }
}

extension TemplateText: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self.init(value) }
}
