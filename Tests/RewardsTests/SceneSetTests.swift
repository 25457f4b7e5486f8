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
      // Each of a relation's two directions has answers of its own.
      let answers = kind == .relation ? 4 : Int((1 / kind.chance(objects: 4)).rounded())
      // Twice as many words as answers, for there are two languages; numbers are the same in both.
      let words = kind == .count ? answers : 2 * answers
      #expect(counts.count == words, "\(counts)")
      let fair = Double(total) / Double(words)
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

  /// A red star in the second square, a blue cross in the 15th and a green circle in the last.
  private var three: Scene {
    var random = SplitMix64(seed: 5)
    var scene = Scene(filledSquares: 1, &random)
    scene.objects = [
      SceneObject(.red, .star, inSquare: 1, &random), SceneObject(.blue, .cross, inSquare: 14, &random),
      SceneObject(.green, .circle, inSquare: 15, &random),
    ]
    return scene
  }

  /// The lines of a text, mostly sorted, since their order is drawn.
  private func lines(_ text: SceneText, _ language: TaskLanguage, isSorted: Bool = true) -> [String] {
    var random = SplitMix64(seed: 1)
    let written = text.written(about: three, language, &random)
    let lines = written.split { ";；.。".contains($0) }.map { $0.trimmingCharacters(in: .whitespaces) }
    return isSorted ? lines.sorted() : lines
  }

  @Test("texts say square by square, or object by object, what there is")
  func texts() {
    let nothing = { Array(repeating: "nothing", count: $0).joined(separator: ", ") }
    #expect(lines(.colours, .english) == ["Colours: nothing, red, \(nothing(12)), blue, green"])
    #expect(lines(.quarters, .english) == ["Places: nothing, top left, \(nothing(12)), bottom right, bottom right"])
    #expect(lines(.shapes, .chinese) == ["形状：没有，五角星，" + String(repeating: "没有，", count: 12) + "十字形，圆形"])
    let inTurn = lines(.quartersInTurn, .english, isSorted: false)
    #expect(
      inTurn == ["each colour place: red top left", "blue bottom right", "green bottom right"]
        || inTurn == ["each shape place: star top left", "cross bottom right", "circle bottom right"])
  }

  @Test("lists find each object, say that one value is not there, and how many there are")
  func lists() {
    func check(_ text: SceneText, _ language: TaskLanguage, _ head: String, _ found: Set<String>, absent: Set<String>) {
      var all = lines(text, language)
      let count = all.firstIndex { $0.hasSuffix("3") }
      #expect(count != nil, "\(all)")
      if let count { all.remove(at: count) }
      let parts = Set(all.map { $0.replacing(head, with: "") })
      #expect(all.contains { $0.hasPrefix(head) } && parts.isSuperset(of: found), "\(all)")
      #expect(parts.subtracting(found).isSubset(of: absent) && parts.count == found.count + (absent.isEmpty ? 0 : 1))
    }
    check(
      .colourOfShape, .english, "shape colour: ", ["star red", "cross blue", "circle green"],
      absent: ["square nothing", "triangle nothing"])
    check(
      .shapeOfColour, .chinese, "颜色形状：", ["红色五角星", "蓝色十字形", "绿色圆形"], absent: ["黄色没有", "紫色没有", "橙色没有"])
    check(
      .quarterOfColour, .english, "colour place: ", ["red top left", "blue bottom right", "green bottom right"],
      absent: ["yellow nothing", "purple nothing", "orange nothing"])
    check(.quarterOfShape, .chinese, "形状位置：", ["五角星左上", "十字形右下", "圆形右下"], absent: ["正方形没有", "三角形没有"])
    check(
      .quarterOfObject, .english, "object place: ",
      ["red star top left", "blue cross bottom right", "green circle bottom right"], absent: [])
  }

  @Test("of two objects a list names the side, where they differ")
  func relations() {
    func said(_ text: SceneText) -> Set<String> {
      var random = SplitMix64(seed: 2)
      var found: Set<String> = []
      for _ in 0..<80 {
        let text = text.written(about: three, .english, &random)
        found.formUnion(text.dropLast().components(separatedBy: ": ")[1].components(separatedBy: "; "))
      }
      return found
    }
    let across = said(.leftOrRight)
    #expect(
      across.isSuperset(of: ["red blue left", "star cross left", "green circle red star right", "green blue right"]))
    #expect(across.count == 18)
    // Two in the same row are not above or below each other.
    let down = said(.aboveOrBelow)
    #expect(down.contains("red star blue cross above") && down.contains("circle star below") && down.count == 12)
    var scene = three
    scene.objects.removeFirst()
    var random = SplitMix64(seed: 2)
    #expect(SceneText.aboveOrBelow.written(about: scene, .english, &random).hasPrefix("object place: "))
  }

  @Test("a name is a word wherever it stands, and nothing of a text is lost")
  func words() {
    #expect(
      SceneWords.split("Is the red circle left or right of the blue star?")
        == ["Is", " the", " red", " circle", " left", " or", " right", " of", " the", " blue", " star", "?"])
    #expect(
      SceneWords.split("红色的圆形在蓝色的五角星的上方还是下方？") == ["红色", "的", "圆形", "在", "蓝色", "的", "五角星", "的", "上方", "还是", "下方", "？"])
    Self.set(40).forEach { _, entry in
      for question in entry.questions {
        #expect(SceneWords.split(question.text).joined() == question.text)
      }
    }
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
      func add(_ index: Int, _ picture: Picture, _ text: String) {
        result.append("\(picture.pixels.reduce(0) { 31 &* $0 &+ Int($1) }) \(text)")
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
