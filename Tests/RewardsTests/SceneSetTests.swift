import Foundation
import Storage
import Testing
import Vision

import Rewards

@Suite struct SceneSetTests {
  private static func set(_ count: Int, isHeldOut: Bool = false, seed: Int = 3) -> SceneSet {
    SceneSet(count: count, isHeldOut: isHeldOut, side: 64, languages: TaskLanguage.allCases, seed: seed)
  }

  @Test("every answer of a kind is right equally often, in both languages", arguments: [false, true])
  func balance(_ isHeldOut: Bool) {
    var answers: [SceneKind: [String: Int]] = [:]
    var byText: [String: Set<String>] = [:]
    Self.set(480, isHeldOut: isHeldOut).forEach { _, entry in
      for question in entry.questions {
        answers[question.kind, default: [:]][question.answer, default: 0] += 1
        byText[question.text, default: []].insert(question.answer)
      }
    }
    for kind in SceneKind.allCases {
      let counts = answers[kind]!
      let total = counts.values.reduce(0, +)
      #expect(total == (kind == .relation ? 360 : 480))
      // Twice as many words as answers, for there are two languages; numbers are the same in both.
      let languages = kind == .count ? 1 : 2
      #expect(counts.count == Int((Double(languages) / kind.chance(objects: 4)).rounded()), "\(counts)")
      let fair = Double(total) * kind.chance(objects: 4) / Double(languages)
      for (answer, count) in counts { #expect(abs(Double(count) - fair) < 0.5 * fair, "\(kind) \(answer): \(counts)") }
    }
    // No question gives its answer away.
    #expect(byText.filter { $0.value.count == 1 }.count < byText.count)
    #expect(byText["How many objects are there?"]!.count == 4)
  }

  @Test("no held-out arrangement is among those for training, whatever the seed")
  func split() {
    func arrangements(_ isHeldOut: Bool, _ seed: Int) -> Set<String> {
      var random = SplitMix64(seed: UInt64(seed))
      return Set(
        (0..<400).map { _ in
          let scene = Scene(
            count: 1 + random.next(below: 2), colour: random.pick(SceneColour.allCases),
            shape: random.pick(SceneShape.allCases), quarter: random.pick(SceneQuarter.allCases), isHeldOut: isHeldOut,
            &random)
          #expect(scene.isHeldOut == isHeldOut)
          return scene.objects.map { "\($0.name(.english)) \(Int($0.x * 4)) \(Int($0.y * 4))" }.sorted().joined()
        })
    }
    let training = arrangements(false, 1).union(arrangements(false, 2))
    #expect(training.isDisjoint(with: arrangements(true, 3)))
  }

  @Test("pictures of one object have no relations, and guessing is right about their number")
  func single() {
    SceneSet(count: 20, objects: 1, isHeldOut: false, side: 64, languages: [.english], seed: 3).forEach { _, entry in
      #expect(entry.questions.map(\.kind) == [.colour, .shape, .count, .position])
    }
    #expect(SceneKind.count.chance(objects: 1) == 1)
  }

  @Test("each object has its colour at its centre and a square of its own")
  func colours() {
    var random = SplitMix64(seed: 5)
    for index in 0..<60 {
      let scene =
        index % 3 == 0
        ? Scene(filledSquares: 16 - index % 16, &random)
        : index % 3 == 1
          ? Scene(distinct: 1 + index % 5, &random)
          : Scene(
            count: 1 + index % 4, colour: random.pick(SceneColour.allCases), shape: random.pick(SceneShape.allCases),
            quarter: random.pick(SceneQuarter.allCases), isHeldOut: false, &random)
      let picture = scene.picture(side: 96, &random)
      for object in scene.objects {
        let at = 3 * (Int(object.y * 96) * 96 + Int(object.x * 96))
        let light = picture.pixels[at..<at + 3].map(Double.init)
        func distance(_ colour: SceneColour) -> Double {
          zip(light, colour.light).map { ($0 - $1) * ($0 - $1) }.reduce(0, +)
        }
        #expect(SceneColour.allCases.min { distance($0) < distance($1) } == object.colour)
      }
      #expect(Set(scene.objects.map(\.square)).count == scene.objects.count)
      #expect(!scene.isHeldOut)
      if index % 3 == 1 {
        #expect(Set(scene.objects.map(\.shape)).count == scene.objects.count)
        #expect(Set(scene.objects.map(\.colour)).count == scene.objects.count)
      }
    }
  }

  /// A red star in the second square, a blue star in the 15th and a green circle in the last.
  private var three: Scene {
    var random = SplitMix64(seed: 5)
    var scene = Scene(filledSquares: 1, &random)
    scene.objects = [
      SceneObject(.red, .star, inSquare: 1, &random), SceneObject(.blue, .star, inSquare: 14, &random),
      SceneObject(.green, .circle, inSquare: 15, &random),
    ]
    return scene
  }

  /// The lines of a text, sorted, since their order is drawn.
  private func lines(_ text: SceneText, _ language: TaskLanguage) -> [String] {
    var random = SplitMix64(seed: 1)
    let written = text.written(about: three, language, &random) ?? ""
    return written.split { ";；.。".contains($0) }.map { $0.trimmingCharacters(in: .whitespaces) }.sorted()
  }

  @Test("texts say square by square, or object by object, what there is; what two objects share has no line")
  func texts() {
    let nothing = { Array(repeating: "nothing", count: $0).joined(separator: " ") }
    #expect(lines(.colours, .english) == ["Colours: nothing red \(nothing(12)) blue green"])
    #expect(lines(.shapes, .chinese) == ["形状：没有 五角星 " + String(repeating: "没有 ", count: 12) + "五角星 圆形"])
    #expect(
      lines(.colourOfShape, .english) == [
        "Count: 3", "circle: green", "cross: nothing", "square: nothing", "triangle: nothing",
      ])
    #expect(
      lines(.shapeOfColour, .chinese).filter { !$0.hasSuffix("没有") } == ["数量：3", "红色：五角星", "绿色：圆形", "蓝色：五角星"])
    #expect(
      lines(.quarterOfColour, .english).filter { !$0.hasSuffix("nothing") }
        == ["Count: 3", "blue: bottom right", "green: bottom right", "red: top left"])
    #expect(
      lines(.quarterOfShape, .english).filter { !$0.hasSuffix("nothing") } == ["Count: 3", "circle: bottom right"])
    #expect(
      lines(.places, .english)
        == ["blue star: column 3, row 4", "green circle: column 4, row 4", "red star: column 2, row 1"])
    #expect(lines(.places, .chinese).contains("红色的五角星：第2列第1行"))
  }

  @Test("relations are said rightly and wrongly, and the answer tells")
  func relations() {
    var answers: [String: Set<String>] = [:]
    var random = SplitMix64(seed: 2)
    for _ in 0..<80 {
      let text = SceneText.relations.written(about: three, .english, &random)!
      for line in text.dropLast().split(separator: "; ") {
        let parts = line.components(separatedBy: ": ")
        answers[parts[0], default: []].insert(parts[1])
      }
    }
    #expect(answers["the red star is above the blue star"] == ["yes"])
    #expect(answers["the red star is below the blue star"] == ["no"])
    #expect(answers["the green circle is left of the blue star"] == ["no"])
    #expect(answers["the green circle is right of the blue star"] == ["yes"])
    #expect(answers.count == 12)
    var scene = three
    scene.objects = [scene.objects[0]]
    #expect(SceneText.relations.written(about: scene, .english, &random) == nil)
  }

  @Test("the same seed makes the same pictures, another one others; PNG keeps every pixel")
  func pictures() throws {
    func pixels(_ seed: Int) -> [[UInt8]] {
      var result: [[UInt8]] = []
      Self.set(4, seed: seed).forEach { result.append($1.picture.pixels) }
      return result
    }
    func squares(_ seed: Int) -> [String] {
      var result: [String] = []
      func add(_ index: Int, _ picture: Picture, _ texts: [String]) {
        result.append("\(picture.pixels.reduce(0) { 31 &* $0 &+ Int($1) }) \(texts)")
      }
      Self.set(4, seed: seed).forEachOfSquares(add)
      Self.set(4, seed: seed).forEachOfLists(add)
      return result
    }
    #expect(pixels(1) == pixels(1) && squares(1) == squares(1))
    #expect(squares(1) != squares(2) && Set(squares(1)).count == 8)
    #expect(pixels(1) != pixels(2))
    try Self.set(4).forEach { _, entry in
      let decoded = try PictureDecoder().picture(entry.picture.png())
      #expect(decoded == entry.picture)
    }
  }
}
