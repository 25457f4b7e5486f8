import Storage

/// What is written about a scene for pretraining: of one picture, much at a time.
///
/// A model that sees has to learn where in a picture to look for what. One answer about a picture says little of that; a text that
/// goes through all squares, or all colours, says it many times. Each begins with what it is about, so that nothing of what
/// follows has to be guessed, and what is said of a name comes right behind it.
package enum SceneText: Sendable {
  /// The colour, the shape or the quarter of what is in each square of the grid, as one reads: the n-th word is about the n-th
  /// square.
  case colours, shapes, quarters
  /// The quarter of each object, as one reads, named by its colour or its shape.
  case quartersInTurn
  /// The colour of each shape, and the shape that has each colour, in any order.
  case colourOfShape, shapeOfColour
  /// The quarter in which each shape, each colour or each object is, in any order.
  case quarterOfShape, quarterOfColour, quarterOfObject
  /// Of two objects, the side on which the first is.
  case leftOrRight, aboveOrBelow

  /// Those that go through a picture. Shapes are read last, and so are the most.
  package static let inTurn: [SceneText] = [
    .colours, .shapes, .shapes, .shapes, .quarters, .quartersInTurn, .quartersInTurn,
  ]
  /// Those that find something by what it is, and a third of texts about squares: a model that no longer reads has nothing to
  /// find.
  package static let lists: [SceneText] = [
    .colourOfShape, .colourOfShape, .shapeOfColour, .shapeOfColour, .quarterOfColour, .quarterOfShape, .quarterOfObject,
    .leftOrRight, .aboveOrBelow, .colours, .shapes, .shapes, .quarters,
  ]

  /// A scene to write this about.
  package func scene(_ random: inout SplitMix64) -> Scene {
    switch self {
    case .colours, .shapes, .quarters: Scene(filledSquares: 8, &random)
    case .quartersInTurn: Scene(filledSquares: 3 + random.next(below: 6), &random)
    case .leftOrRight, .aboveOrBelow: Scene(distinct: 2 + random.next(below: 4), &random)
    default: Scene(distinct: 1 + random.next(below: 5), &random)
    }
  }

  package func written(about scene: Scene, _ language: TaskLanguage, _ random: inout SplitMix64) -> String {
    let words = SceneWords(language)
    let objects = scene.objects.shuffled(using: &random)
    func colour(_ object: SceneObject) -> String { object.colour.name(language) }
    func shape(_ object: SceneObject) -> String { object.shape.name(language) }
    func name(_ object: SceneObject) -> String { object.name(language) }
    func quarter(_ object: SceneObject) -> String { object.quarter.name(language) }
    /// "head: a b; c d.", with one value that no object has among them.
    func list(
      _ head: String, _ key: (SceneObject) -> String, _ said: (SceneObject) -> String, absent: [String] = []
    ) -> String {
      var lines = objects.map { key($0) + words.space + said($0) }
      if !absent.isEmpty {
        lines.insert(random.pick(absent) + words.space + words.nothing, at: random.next(below: lines.count + 1))
      }
      return words.sentence(head, lines) + words.count(objects.count)
    }
    let absentColours = SceneColour.allCases.filter { value in !objects.contains { $0.colour == value } }
    let absentShapes = SceneShape.allCases.filter { value in !objects.contains { $0.shape == value } }
    let (noColours, noShapes) = (absentColours.map { $0.name(language) }, absentShapes.map { $0.name(language) })
    switch self {
    case .colours: return squares(scene, words.colours, words, colour)
    case .shapes: return squares(scene, words.shapes, words, shape)
    case .quarters: return squares(scene, words.places, words, quarter)
    case .quartersInTurn:
      let isByColour = random.next(below: 2) == 0
      let lines = scene.objects.sorted { $0.square < $1.square }.map {
        (isByColour ? colour($0) : shape($0)) + words.space + quarter($0)
      }
      return words.sentence(isByColour ? words.placeOfEachColour : words.placeOfEachShape, lines)
    case .colourOfShape: return list(words.colourOfShape, shape, colour, absent: noShapes)
    case .shapeOfColour: return list(words.shapeOfColour, colour, shape, absent: noColours)
    case .quarterOfShape: return list(words.placeOfShape, shape, quarter, absent: noShapes)
    case .quarterOfColour: return list(words.placeOfColour, colour, quarter, absent: noColours)
    case .quarterOfObject: return list(words.placeOfObject, name, quarter)
    case .leftOrRight, .aboveOrBelow:
      let isAcross = self == .leftOrRight
      let key = random.pick([colour, shape, name])
      let pairs = objects.flatMap { a in objects.map { (a, $0) } }.filter {
        SceneRelation($0, $1, isAcross: isAcross) != nil
      }
      // All of them in one column, or in one row.
      guard !pairs.isEmpty else { return SceneText.quarterOfObject.written(about: scene, language, &random) }
      let lines = pairs.shuffled(using: &random).prefix(6).map { a, b in
        [key(a), key(b), SceneRelation(a, b, isAcross: isAcross)!.answer(language)].joined(separator: words.space)
      }
      return words.sentence(SceneRelation.sides(isAcross: isAcross, language).joined(separator: words.or), lines)
    }
  }

  private func squares(
    _ scene: Scene, _ head: String, _ words: SceneWords, _ name: (SceneObject) -> String
  ) -> String {
    let names = (0..<16).map { square in
      scene.objects.first { $0.square == square }.map(name) ?? words.nothing
    }
    return head + words.colon + names.joined(separator: words.comma) + words.stop
  }
}
