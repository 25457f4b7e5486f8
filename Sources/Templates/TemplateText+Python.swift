/// The methods of Python's `str`, each keeping the origin of what it keeps.
extension TemplateText {
  func uppercased() -> TemplateText { map { scalar, _ in scalar.properties.uppercaseMapping } }

  func lowercased() -> TemplateText { map { scalar, index in lowercaseMapping(scalar, index) } }

  /// In lower case; a capital sigma at the end of a word, which is looked for from `start`, has a form of its own.
  private func lowercaseMapping(_ scalar: Unicode.Scalar, _ index: Int, from start: Int = 0) -> String {
    guard scalar == "Σ" else { return scalar.properties.lowercaseMapping }
    func isCased(_ indices: some Sequence<Int>) -> Bool {
      for index in indices where !scalars[index].properties.isCaseIgnorable { return scalars[index].isPythonCased }
      return false
    }
    let isFinal = isCased((start..<index).reversed()) && !isCased((index + 1)..<count)
    return isFinal ? "ς" : "σ"
  }

  func capitalized() -> TemplateText {
    map { scalar, index in index == 0 ? scalar.properties.titlecaseMapping : lowercaseMapping(scalar, index) }
  }

  /// `str.title`: a letter after what is no letter begins a word.
  func titlecased() -> TemplateText {
    map { scalar, index in
      index > 0 && scalars[index - 1].isPythonCased
        ? lowercaseMapping(scalar, index) : scalar.properties.titlecaseMapping
    }
  }

  /// The filter `title`: words begin after white space, a hyphen or an opening bracket.
  func wordsTitlecased() -> TemplateText {
    func separates(_ scalar: Unicode.Scalar) -> Bool { scalar.isPythonSpace || "-({[<".unicodeScalars.contains(scalar) }
    var start = 0
    return map { scalar, index in
      if separates(scalar) { return nil }
      guard index == 0 || separates(scalars[index - 1]) else { return lowercaseMapping(scalar, index, from: start) }
      start = index + 1
      return scalar.properties.uppercaseMapping
    }
  }

  func caseSwapped() -> TemplateText {
    map { scalar, index in
      scalar.isPythonUppercase
        ? lowercaseMapping(scalar, index)
        : scalar.isPythonLowercase ? scalar.properties.uppercaseMapping : nil
    }
  }

  enum Side { case left, right, both }

  /// Without white space, or the code points of `characters`, at its ends.
  func stripped(_ characters: TemplateText? = nil, _ side: Side = .both) -> TemplateText {
    let set = characters.map { Set($0.scalars) }
    func goes(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.isPythonSpace }
    var (start, end) = (0, count)
    if side != .right { while start < end, goes(scalars[start]) { start += 1 } }
    if side != .left { while end > start, goes(scalars[end - 1]) { end -= 1 } }
    return self[start..<end]
  }

  func hasPrefix(_ prefix: TemplateText) -> Bool { scalars.starts(with: prefix.scalars) }

  func matches(_ other: TemplateText, at index: Int) -> Bool {
    guard index >= 0, index + other.count <= count else { return false }
    for offset in 0..<other.count where scalars[index + offset] != other.scalars[offset] { return false }
    return true
  }

  func hasSuffix(_ suffix: TemplateText) -> Bool { matches(suffix, at: count - suffix.count) }

  /// Where `part` is first found within `range`.
  func firstIndex(of part: TemplateText, in range: Range<Int>) -> Int? {
    guard let first = part.scalars.first else { return range.lowerBound }
    var index = range.lowerBound
    while index + part.count <= range.upperBound {
      if scalars[index] == first, matches(part, at: index) { return index }
      index += 1
    }
    return nil
  }

  func lastIndex(of part: TemplateText, in range: Range<Int>) -> Int? {
    var index = range.upperBound - part.count
    while index >= range.lowerBound {
      if matches(part, at: index) { return index }
      index -= 1
    }
    return nil
  }

  func contains(_ part: TemplateText) -> Bool { firstIndex(of: part, in: 0..<count) != nil }

  /// The places without overlap where `part`, not empty, is found, at most `limit` when that is not negative.
  func indices(of part: TemplateText, in range: Range<Int>? = nil, limit: Int = -1) -> [Int] {
    var places: [Int] = []
    var start = range?.lowerBound ?? 0
    let end = range?.upperBound ?? count
    while limit < 0 || places.count < limit, let index = firstIndex(of: part, in: start..<end) {
      places.append(index)
      start = index + part.count
      if start > end { break }
    }
    return places
  }

  func replacing(_ old: TemplateText, with new: TemplateText, limit: Int = -1) -> TemplateText {
    var result = TemplateText()
    result.isSafe = isSafe
    if old.isEmpty {
      for index in 0...count {
        if limit < 0 || index < limit { result.append(new) }
        if index < count { result.append(self, index..<index + 1) }
      }
      return result
    }
    var start = 0
    for place in indices(of: old, limit: limit) {
      result.append(self, start..<place)
      result.append(new)
      start = place + old.count
    }
    result.append(self, start..<count)
    return result
  }

  /// `split` with a separator that is not empty.
  func split(_ separator: TemplateText, limit: Int) -> [TemplateText] {
    var parts: [TemplateText] = []
    var start = 0
    for place in indices(of: separator, limit: limit) {
      parts.append(self[start..<place])
      start = place + separator.count
    }
    return parts + [self[start..<count]]
  }

  func splitFromRight(_ separator: TemplateText, limit: Int) -> [TemplateText] {
    var parts: [TemplateText] = []
    var end = count
    while limit < 0 || parts.count < limit, let place = lastIndex(of: separator, in: 0..<end) {
      parts.append(self[place + separator.count..<end])
      end = place
    }
    return [self[0..<end]] + parts.reversed()
  }

  /// `split` at white space.
  func words(limit: Int) -> [TemplateText] {
    var parts: [TemplateText] = []
    var index = 0
    while true {
      while index < count, scalars[index].isPythonSpace { index += 1 }
      if index == count { return parts }
      if limit >= 0, parts.count == limit { return parts + [self[index..<count]] }
      let start = index
      while index < count, !scalars[index].isPythonSpace { index += 1 }
      parts.append(self[start..<index])
    }
  }

  func wordsFromRight(limit: Int) -> [TemplateText] {
    var parts: [TemplateText] = []
    var index = count
    while true {
      while index > 0, scalars[index - 1].isPythonSpace { index -= 1 }
      if index == 0 { return parts.reversed() }
      if limit >= 0, parts.count == limit { return [self[0..<index]] + parts.reversed() }
      let end = index
      while index > 0, !scalars[index - 1].isPythonSpace { index -= 1 }
      parts.append(self[index..<end])
    }
  }

  func lines(keepEnds: Bool = false) -> [TemplateText] {
    var parts: [TemplateText] = []
    var (start, index) = (0, 0)
    while index < count {
      guard scalars[index].isPythonLineBreak else {
        index += 1
        continue
      }
      let end = index
      index += scalars[index] == "\r" && index + 1 < count && scalars[index + 1] == "\n" ? 2 : 1
      parts.append(self[start..<(keepEnds ? index : end)])
      start = index
    }
    if start < count { parts.append(self[start..<count]) }
    return parts
  }

  static func joined(_ parts: [TemplateText], by separator: TemplateText) -> TemplateText {
    var result = TemplateText()
    result.isSafe = separator.isSafe
    for (index, part) in parts.enumerated() {
      if index > 0 { result.append(separator) }
      result.append(part)
    }
    return result
  }

  func repeated(_ times: Int) -> TemplateText {
    var result = TemplateText()
    result.isSafe = isSafe
    for _ in 0..<max(0, times) { result.append(self) }
    return result
  }

  /// As wide as `width`, filled with `fill` at one side or both.
  func padded(to width: Int, _ side: Side, with fill: TemplateText = " ") -> TemplateText {
    let missing = width - count
    guard missing > 0 else { return self }
    let left: Int
    switch side {
    case .left: left = missing
    case .right: left = 0
    // CPython's rounding of the odd one.
    case .both: left = missing / 2 + (missing & width & 1)
    }
    var result = fill.repeated(left) + self + fill.repeated(missing - left)
    result.isSafe = isSafe
    return result
  }

  /// `repr` of the text.
  var quoted: TemplateText {
    let hasApostrophe = scalars.contains("'")
    let quote: Unicode.Scalar = hasApostrophe && !scalars.contains("\"") ? "\"" : "'"
    var result = TemplateText(String(quote))
    var body = map { scalar, _ in
      switch scalar {
      case quote, "\\": return "\\" + String(scalar)
      case "\n": return "\\n"
      case "\r": return "\\r"
      case "\t": return "\\t"
      default:
        if scalar.isPythonPrintable { return nil }
        return scalar.value < 0x100
          ? scalar.escaped("x", digits: 2)
          : scalar.value < 0x10000 ? scalar.escaped("u", digits: 4) : scalar.escaped("U", digits: 8)
      }
    }
    body.isSafe = false
    result.append(body)
    result.append(String(quote))
    return result
  }

  /// Escaped for HTML, and known as such; what is so already stays.
  var escapedForHTML: TemplateText {
    if isSafe { return self }
    var result = map { scalar, _ in
      switch scalar {
      case "&": "&amp;"
      case "<": "&lt;"
      case ">": "&gt;"
      case "'": "&#39;"
      case "\"": "&#34;"
      default: nil
      }
    }
    result.isSafe = true
    return result
  }
}
