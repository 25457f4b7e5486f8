import Storage

/// What is written about a scene for pretraining: of one picture, much at a time.
///
/// A model that sees has to learn where in a picture to look for what. One answer about a picture says little of that; a text that
/// goes through all squares, or all colours, says it many times.
package enum SceneText: Sendable {
  /// The colour, or the shape, of each square of the grid, as one reads: the n-th word is about the n-th square.
  case colours, shapes
  /// The shape that has each colour, and the colour of each shape.
  case shapeOfColour, colourOfShape
  /// The quarter in which each colour, or each shape, is.
  case quarterOfColour, quarterOfShape
  /// The column and the row of each object.
  case places
  /// On which side of each other objects are; said of some pairs rightly and of others wrongly.
  case relations

  /// Those of all squares; those that name what else is where something is; and those about its place.
  package static let ofSquares: [SceneText] = [.colours, .shapes]
  package static let ofObjects: [SceneText] = [.shapeOfColour, .colourOfShape]
  package static let ofPlaces: [SceneText] = [.quarterOfColour, .quarterOfShape, .places, .relations]

  /// - Returns: nil where there is nothing to say: relations of one object.
  package func written(about scene: Scene, _ language: TaskLanguage, _ random: inout SplitMix64) -> String? {
    let words = SceneWords(language)
    switch self {
    case .colours, .shapes:
      let names = (0..<16).map { square in
        scene.objects.first { $0.square == square }
          .map { self == .colours ? $0.colour.name(language) : $0.shape.name(language) } ?? words.nothing
      }
      let head = self == .colours ? words.colours : words.shapes
      return head + words.colon + names.joined(separator: " ") + words.stop
    case .shapeOfColour, .quarterOfColour:
      return list(SceneColour.allCases, scene, words, &random, key: \.colour) { $0.name(language) }
    case .colourOfShape, .quarterOfShape:
      return list(SceneShape.allCases, scene, words, &random, key: \.shape) { $0.name(language) }
    case .places:
      let lines = scene.objects.shuffled(using: &random).map { object in
        object.name(language) + words.colon + words.place(object)
      }
      return lines.joined(separator: words.semicolon) + words.stop
    case .relations:
      return relations(scene, language, words, &random)
    }
  }

  /// A line for each value that no object has, or one: what two have says nothing clear.
  private func list<Key: Equatable>(
    _ keys: [Key], _ scene: Scene, _ words: SceneWords, _ random: inout SplitMix64, key: (SceneObject) -> Key,
    name: (Key) -> String
  ) -> String {
    let lines = keys.shuffled(using: &random).compactMap { value -> String? in
      let found = scene.objects.filter { key($0) == value }
      guard found.count < 2 else { return nil }
      return name(value) + words.colon + (found.first.map { said(of: $0, words.language) } ?? words.nothing)
    }
    return lines.joined(separator: words.semicolon) + words.stop + words.count + words.colon + "\(scene.objects.count)"
  }

  private func said(of object: SceneObject, _ language: TaskLanguage) -> String {
    switch self {
    case .shapeOfColour: object.shape.name(language)
    case .colourOfShape: object.colour.name(language)
    default: object.quarter.name(language)
    }
  }

  /// Three lines at most: that an answer is right says little of where to look, and much text of it would drown the lists.
  private func relations(
    _ scene: Scene, _ language: TaskLanguage, _ words: SceneWords, _ random: inout SplitMix64
  ) -> String? {
    let pairs = scene.objects.indices.flatMap { a in scene.objects.indices.filter { $0 != a }.map { (a, $0) } }
    let lines = pairs.shuffled(using: &random).prefix(3).map { a, b in
      let isTrue = random.next(below: 2) == 0
      let relation = SceneRelation(scene.objects[a], scene.objects[b], isTrue: isTrue)
      return relation.statement(language) + words.colon + words.answer(isTrue)
    }
    return lines.isEmpty ? nil : lines.joined(separator: words.semicolon) + words.stop
  }
}

/// The words around names in a text about a scene.
struct SceneWords {
  let language: TaskLanguage

  init(_ language: TaskLanguage) { self.language = language }

  private func text(_ english: String, _ chinese: String) -> String { language == .english ? english : chinese }

  var colours: String { text("Colours", "颜色") }
  var shapes: String { text("Shapes", "形状") }
  var count: String { text(" Count", "数量") }
  var nothing: String { text("nothing", "没有") }
  var colon: String { text(": ", "：") }
  var semicolon: String { text("; ", "；") }
  var stop: String { text(".", "。") }

  func answer(_ isTrue: Bool) -> String { isTrue ? text("yes", "是") : text("no", "否") }

  func place(_ object: SceneObject) -> String {
    let (column, row) = (object.square % 4 + 1, object.square / 4 + 1)
    return text("column \(column), row \(row)", "第\(column)列第\(row)行")
  }
}

/// On which side of another an object is said to be, in the direction in which they are further apart.
struct SceneRelation {
  private let first: SceneObject
  private let second: SceneObject
  private let isAcross: Bool
  private let isBefore: Bool

  /// - Parameter isTrue: whether what is said is so.
  init(_ first: SceneObject, _ second: SceneObject, isTrue: Bool) {
    (self.first, self.second) = (first, second)
    let (x, y) = (first.x - second.x, first.y - second.y)
    isAcross = abs(x) >= abs(y)
    isBefore = ((isAcross ? x : y) < 0) == isTrue
  }

  private func side(_ language: TaskLanguage) -> String {
    let words =
      language == .english
      ? (isAcross ? ["left of", "right of"] : ["above", "below"]) : (isAcross ? ["左边", "右边"] : ["上方", "下方"])
    return words[isBefore ? 0 : 1]
  }

  func statement(_ language: TaskLanguage) -> String {
    let (a, b) = (first.name(language), second.name(language))
    return language == .english ? "the \(a) is \(side(language)) the \(b)" : "\(a)在\(b)的\(side(language))"
  }

  func question(_ language: TaskLanguage) -> String {
    let (a, b) = (first.name(language), second.name(language))
    return language == .english ? "Is the \(a) \(side(language)) the \(b)?" : "\(a)在\(b)的\(side(language))吗？"
  }
}
