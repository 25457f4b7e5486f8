import Storage

/// What can be asked about a scene.
package enum SceneKind: String, CaseIterable, Sendable {
  case colour, shape, count, position
  /// On which side of another an object is; scenes of one object have none.
  case relation

  /// The share that guessing gets right: every answer is right as often as any other.
  ///
  /// - Parameter objects: the most of a picture.
  package func chance(objects: Int) -> Double {
    switch self {
    case .colour: 1 / Double(SceneColour.allCases.count)
    case .shape: 1 / Double(SceneShape.allCases.count)
    case .count: 1 / Double(objects)
    case .position: 1 / Double(SceneQuarter.allCases.count)
    case .relation: 1 / 2
    }
  }
}

/// A question about a scene and its answer, a word or two.
package struct SceneQuestion: Sendable {
  package var kind: SceneKind
  package var text: String
  package var answer: String

  init(_ kind: SceneKind, of scene: Scene, _ language: TaskLanguage, _ random: inout SplitMix64) {
    self.kind = kind
    let object = scene.objects[0]
    let (colour, shape) = (object.colour.name(language), object.shape.name(language))
    let isEnglish = language == .english
    switch kind {
    case .colour:
      text = random.pick(
        isEnglish
          ? ["What colour is the \(shape)?", "Name the colour of the \(shape)."]
          : ["\(shape)是什么颜色？", "图中\(shape)的颜色是？"])
      answer = colour
    case .shape:
      text = random.pick(
        isEnglish
          ? ["What shape is the \(colour) object?", "Which shape is \(colour)?"]
          : ["\(colour)的物体是什么形状？", "什么形状是\(colour)的？"])
      answer = shape
    case .count:
      text = random.pick(
        isEnglish ? ["How many objects are there?", "Count the objects."] : ["图中有几个物体？", "数一数物体。"])
      answer = String(scene.objects.count)
    case .position:
      let name = object.name(language)
      text = random.pick(
        isEnglish
          ? ["Where is the \(name)?", "In which corner is the \(name)?"] : ["\(name)在哪里？", "\(name)在图中哪个角？"])
      answer = object.quarter.name(language)
    case .relation:
      // Which of the two is named first is drawn.
      var (first, second) = (scene.objects[0], scene.objects[1])
      if random.next(below: 2) == 0 { swap(&first, &second) }
      let relation = SceneRelation(first, second, &random)
      text = relation.question(language)
      answer = relation.answer(language)
    }
  }
}
