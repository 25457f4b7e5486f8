import Storage

/// On which side of another an object is, asked with both sides that it may be on.
struct SceneRelation {
  private let first: SceneObject
  private let second: SceneObject
  /// Whether it is about left and right, or about above and below.
  private let isAcross: Bool

  /// - Returns: nil for two in the same column, or in the same row.
  init?(_ first: SceneObject, _ second: SceneObject, isAcross: Bool) {
    let (a, b) = (first.square, second.square)
    guard isAcross ? a % 4 != b % 4 : a / 4 != b / 4 else { return nil }
    (self.first, self.second, self.isAcross) = (first, second, isAcross)
  }

  /// Draws the direction, if the two differ in both.
  ///
  /// - Precondition: the objects are in different squares.
  init(_ first: SceneObject, _ second: SceneObject, _ random: inout SplitMix64) {
    let both = [true, false].compactMap { Self(first, second, isAcross: $0) }
    precondition(!both.isEmpty, "square \(first.square)")
    self = random.pick(both)
  }

  static let chineseSides = ["左边", "右边", "上方", "下方"]

  /// Left and right, or above and below.
  static func sides(isAcross: Bool, _ language: TaskLanguage) -> [String] {
    switch language {
    case .english: isAcross ? ["left", "right"] : ["above", "below"]
    case .chinese: Array(isAcross ? chineseSides.prefix(2) : chineseSides.suffix(2))
    }
  }

  func answer(_ language: TaskLanguage) -> String {
    Self.sides(isAcross: isAcross, language)[(isAcross ? first.x < second.x : first.y < second.y) ? 0 : 1]
  }

  func question(_ language: TaskLanguage) -> String {
    let sides = Self.sides(isAcross: isAcross, language)
    let (a, b) = (first.name(language), second.name(language))
    switch language {
    case .english: return "Is the \(a) \(sides[0]) or \(sides[1]) \(isAcross ? "of the" : "the") \(b)?"
    case .chinese: return "\(a)在\(b)的\(sides[0])还是\(sides[1])？"
    }
  }
}
