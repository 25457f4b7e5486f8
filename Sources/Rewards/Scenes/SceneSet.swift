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
    package var caption: String
    /// One of each kind.
    package var questions: [(kind: SceneKind, text: String, answer: String)]
  }

  /// Calls `body` with each scene, in order.
  package func forEach(_ body: (_ index: Int, Entry) throws -> Void) rethrows {
    var random = SplitMix64(
      seed: UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 &+ (isHeldOut ? 1 : 0))
    var counts = Deck(Array(1...objects))
    var colours = Deck(SceneColour.allCases)
    var shapes = Deck(SceneShape.allCases)
    var quarters = Deck(SceneQuarter.allCases)
    var truths = Deck([true, false])
    var spoken = Deck(languages)
    for index in 0..<count {
      let scene = Scene(
        count: counts.draw(&random), colour: colours.draw(&random), shape: shapes.draw(&random),
        quarter: quarters.draw(&random), isHeldOut: isHeldOut, &random)
      let picture = scene.picture(side: side, &random)
      let language = spoken.draw(&random)
      let kinds = SceneKind.allCases.filter { $0 != .relation || scene.objects.count > 1 }
      let questions = kinds.map { kind in
        let isTrue = kind == .relation ? truths.draw(&random) : false
        let question = SceneQuestion(kind, of: scene, spoken.draw(&random), isTrue: isTrue, &random)
        return (kind: kind, text: question.text, answer: question.answer)
      }
      try body(index, Entry(picture: picture, caption: scene.caption(language), questions: questions))
    }
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
