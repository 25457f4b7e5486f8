import Storage
import Tokenization
import Vision

/// Pictures of coloured shapes with what is said and asked about them: for training, and others held out from it.
///
/// The same for the same arguments. Each kind's answers are right equally often, and so is each language, in the text of a
/// question nothing says what its answer is, and no held-out arrangement of colours, shapes and places is among those for
/// training, whatever the seed.
package struct SceneSet: Sendable {
  package var count: Int
  /// The most objects of a picture, 1 to 4.
  package var objects: Int
  package var isHeldOut: Bool
  /// Pixels of a picture's width and height.
  package var side: Int
  package var languages: [TaskLanguage]
  package var seed: Int

  /// - Precondition: there is a language; `side` is at least `leastSide`; a picture has 1 to `mostObjects` objects.
  package init(
    count: Int, objects: Int = mostObjects, isHeldOut: Bool, side: Int, languages: [TaskLanguage], seed: Int
  ) {
    precondition(!languages.isEmpty && side >= Self.leastSide, "\(languages.count) languages, \(side) pixels")
    precondition((1...Self.mostObjects).contains(objects), "\(objects) objects")
    self.count = count
    self.objects = objects
    self.isHeldOut = isHeldOut
    self.side = side
    self.languages = languages
    self.seed = seed
  }

  /// On fewer pixels shapes look alike.
  package static let leastSide = 32
  package static let mostObjects = 4

  /// A picture and what belongs to it.
  package struct Entry: Sendable {
    package var picture: Picture
    /// One of each kind.
    package var questions: [SceneQuestion]
  }

  /// Calls `body` with each scene, in order.
  package func forEach(_ body: (_ index: Int, Entry) throws -> Void) rethrows {
    var random = random(isHeldOut ? 1 : 0)
    var counts = Deck(Array(1...objects))
    var colours = Deck(SceneColour.allCases)
    var shapes = Deck(SceneShape.allCases)
    var quarters = Deck(SceneQuarter.allCases)
    var spoken = Deck(languages)
    for index in 0..<count {
      let scene = Scene(
        count: counts.draw(&random), colour: colours.draw(&random), shape: shapes.draw(&random),
        quarter: quarters.draw(&random), isHeldOut: isHeldOut, &random)
      let picture = scene.picture(side: side, &random)
      let kinds = SceneKind.allCases.filter { $0 != .relation || scene.objects.count > 1 }
      let questions = kinds.map { SceneQuestion($0, of: scene, spoken.draw(&random), &random) }
      try body(index, Entry(picture: picture, questions: questions))
    }
  }

  /// Calls `body` with pictures of 1 to 16 objects and a text of each that goes through them as one reads; half of those about
  /// colours and shapes have 16.
  package func forEachOfSquares(_ body: (_ index: Int, Picture, _ text: String) throws -> Void) rethrows {
    var texts = Deck(SceneText.inTurn)
    try forEachText(2, body) { index, random in
      let text = texts.draw(&random)
      guard text == .colours || text == .shapes else { return (text.scene(&random), text) }
      return (Scene(filledSquares: index % 2 == 0 ? 16 : 1 + random.next(below: 15), &random), text)
    }
  }

  /// Calls `body` with pictures and a text of each, in which something is found by what it is or where it is.
  package func forEachOfLists(_ body: (_ index: Int, Picture, _ text: String) throws -> Void) rethrows {
    var texts = Deck(SceneText.lists)
    try forEachText(3, body) { _, random in
      let text = texts.draw(&random)
      return (text.scene(&random), text)
    }
  }

  /// - Parameters:
  ///   - stream: tells the random numbers from those of other pictures.
  ///   - scene: the scene of an index, and what is written about it.
  private func forEachText(
    _ stream: UInt64, _ body: (_ index: Int, Picture, _ text: String) throws -> Void,
    scene: (_ index: Int, _ random: inout SplitMix64) -> (Scene, SceneText)
  ) rethrows {
    var random = random(stream)
    var spoken = Deck(languages)
    for index in 0..<count {
      let (scene, text) = scene(index, &random)
      let picture = scene.picture(side: side, &random)
      try body(index, picture, text.written(about: scene, spoken.draw(&random), &random))
    }
  }

  private func random(_ stream: UInt64) -> SplitMix64 {
    SplitMix64(seed: UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 &+ stream)
  }
}

/// Values in a random order, each as often as any other: all are drawn before one comes again.
private struct Deck<Value> {
  private let values: [Value]
  private var rest: [Value] = []

  init(_ values: [Value]) { self.values = values }

  mutating func draw(_ random: inout SplitMix64) -> Value {
    if rest.isEmpty {
      rest = values
      rest.shuffle(using: &random)
    }
    return rest.removeLast()
  }
}
