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
      #expect(!entry.caption.contains(";") && entry.questions.map(\.kind) == [.colour, .shape, .count, .position])
    }
    #expect(SceneKind.count.chance(objects: 1) == 1)
  }

  @Test("captions say where what is, row by row, and each object has its colour at its centre")
  func captions() {
    var random = SplitMix64(seed: 5)
    for index in 0..<60 {
      let scene = Scene(
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
      let ordered = scene.objects.sorted { ($0.y * 4).rounded(.down) * 4 + $0.x < ($1.y * 4).rounded(.down) * 4 + $1.x }
      let parts = ordered.map { "\(place($0))：\($0.name(.chinese))" }
      #expect(scene.caption(.chinese) == parts.joined(separator: "；") + "。")
    }
  }

  private func place(_ object: SceneObject) -> String {
    (object.x < 0.5 ? "左" : "右") + (object.y < 0.5 ? "上" : "下")
  }

  @Test("the same seed makes the same pictures, another one others; PNG keeps every pixel")
  func pictures() throws {
    func pixels(_ seed: Int) -> [[UInt8]] {
      var result: [[UInt8]] = []
      Self.set(4, seed: seed).forEach { result.append($1.picture.pixels) }
      return result
    }
    #expect(pixels(1) == pixels(1))
    #expect(pixels(1) != pixels(2))
    try Self.set(4).forEach { _, entry in
      let decoded = try PictureDecoder().picture(entry.picture.png())
      #expect(decoded == entry.picture)
    }
  }
}
