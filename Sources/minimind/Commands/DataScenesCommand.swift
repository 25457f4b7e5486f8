import Foundation
import Rewards
import Storage
import Tokenization
import Vision

/// `minimind data scenes`: pictures of coloured shapes, with captions and questions, made by the program.
let dataScenesCommand: Command = {
  let output = Option.required(
    "output", "DIR",
    help:
      "Directory for squares.jsonl, captions.jsonl, train.jsonl, held-out.jsonl, words.txt and images; scenes that are "
      + "already there are replaced."
  )
  let languages = Option.list(
    "language", "en|zh", help: "Only texts in English (en) or in Chinese (zh). Half of each if left out.")
  let count = Option.integer(
    "count", default: 2000, in: 1...1_000_000,
    help:
      "Pictures to ask about in training; as many more are drawn for squares.jsonl, and twice as many for captions.jsonl."
  )
  let heldOut = Option.integer("held-out-count", default: 200, in: 0...100_000, help: "Pictures held out.")
  let objects = Option.integer(
    "objects", default: SceneSet.mostObjects, in: 1...SceneSet.mostObjects,
    help: "The most shapes of a picture that is asked about.")
  let size = Option.integer(
    "size", default: 64, in: SceneSet.leastSide...1024, help: "Pixels of a picture's width and height.")
  return Command(
    "data", "scenes", summary: "makes pictures of coloured shapes, with captions and questions",
    options: [output, count, heldOut, objects, size, languages, Option.seed],
    example: "minimind data scenes --count 4000 --output my-scenes"
  ) { invocation in
    let spoken = try choices(invocation[languages], of: TaskLanguage.self, option: languages.name)
    let directory = withoutTrailingSlashes(invocation[output])
    try checkHoldsScenesOnly(directory)
    let total = 4 * invocation[count] + invocation[heldOut]
    let progress = ProgressLine("drawing", total: total, unit: .things("pictures"), console: Console.standardOutput)
    defer { progress.finish() }
    Interruption.watch()
    var questionCounts = (training: 0, heldOut: 0)
    var words = WordList()
    var drawn = 0
    try AtomicDirectory.write(directory) { temporary in
      try createDirectory(temporary + "/images")
      var (training, held) = ("", "")
      for (isHeldOut, wanted) in [(false, invocation[count]), (true, invocation[heldOut])] {
        let set = SceneSet(
          count: wanted, objects: invocation[objects], isHeldOut: isHeldOut, side: invocation[size], languages: spoken,
          seed: invocation[Option.seed])
        try set.forEach { index, entry in
          try Interruption.check()
          let image = "images/\(isHeldOut ? "held-out" : "train")-\(number(index)).png"
          try AtomicDirectory.addFile("\(temporary)/\(image)", try entry.picture.png())
          if isHeldOut {
            held += entry.questions.map { line(ofTask: $0, image, objects: invocation[objects]) }.joined()
            questionCounts.heldOut += entry.questions.count
          } else {
            training += entry.questions.map { line(image, $0) }.joined()
            for question in entry.questions { words.add(question.text, question.answer) }
            questionCounts.training += entry.questions.count
          }
          drawn += 1
          progress.update(completed: drawn)
        }
      }
      func draw(
        _ name: String, _ forEach: ((Int, Picture, String) throws -> Void) throws -> Void
      ) throws -> String {
        var lines = ""
        try forEach { index, picture, text in
          try Interruption.check()
          let image = "images/\(name)-\(number(index)).png"
          try AtomicDirectory.addFile("\(temporary)/\(image)", try picture.png())
          lines += row(text, of: image)
          words.add(text)
          drawn += 1
          progress.update(completed: drawn)
        }
        return lines
      }
      var set = SceneSet(
        count: invocation[count], isHeldOut: false, side: invocation[size], languages: spoken,
        seed: invocation[Option.seed])
      let squares = try draw("squares", set.forEachOfSquares)
      set.count *= 2
      let captions = try draw("captions", set.forEachOfLists)
      for (name, text) in [
        ("squares", squares), ("captions", captions), ("train", training), ("held-out", held),
      ] where !text.isEmpty {
        try AtomicDirectory.addFile("\(temporary)/\(name).jsonl", Array(text.utf8))
      }
      try AtomicDirectory.addFile("\(temporary)/words.txt", Array((words.lines.joined(separator: "\n") + "\n").utf8))
      try AtomicDirectory.synchronizeFiles(in: temporary)
    }
    progress.finish()
    try Console.standardOutput.write(
      renderPairs([
        ("training", "\(invocation[count]) texts about all squares of pictures in \(directory)/squares.jsonl"),
        ("", "\(2 * invocation[count]) texts about what is where in pictures in \(directory)/captions.jsonl"),
        ("", "\(questionCounts.training) questions about pictures in \(directory)/train.jsonl"),
        (
          "held out",
          invocation[heldOut] == 0
            ? "none"
            : "\(questionCounts.heldOut) questions about \(invocation[heldOut]) pictures in \(directory)/held-out.jsonl"
        ),
        ("words", "\(words.lines.count), for a tokenizer, in \(directory)/words.txt"),
        ("pictures", "\(drawn) of \(invocation[size]) × \(invocation[size]) pixels in \(directory)/images"),
      ]))
  }
}()

private let sceneNames: Set = [
  "squares.jsonl", "captions.jsonl", "train.jsonl", "held-out.jsonl", "words.txt", "images",
]

/// Words of texts, each once, in the order in which they first come.
private struct WordList {
  private(set) var lines: [String] = []
  private var known: Set<String> = []

  mutating func add(_ texts: String...) {
    for word in texts.flatMap(SceneWords.split) where known.insert(word).inserted { lines.append(word) }
  }
}

/// A picture's number in the name of its file: six digits, or as many as it has.
private func number(_ index: Int) -> String {
  String(repeating: "0", count: max(0, 6 - String(index + 1).count)) + String(index + 1)
}

/// - Throws: `CommandError` for a directory with other files in it.
private func checkHoldsScenesOnly(_ directory: String) throws {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
  guard names.allSatisfy(sceneNames.contains), names.isEmpty || names.contains("captions.jsonl") else {
    throw CommandError(
      "\(directory) holds other files than scenes and is left as it is. Choose another output directory.")
  }
}

/// A row of text for pretraining.
private func row(_ text: String, of image: String) -> String {
  JSON.object([.init("image", .string(image)), .init("text", .string("<image>\n" + text))]).compactText + "\n"
}

/// A row as MiniMind-V's data have it.
private func line(_ image: String, _ question: SceneQuestion) -> String {
  let messages = [
    ChatMessage(role: .user, content: "<image>\n" + question.text),
    ChatMessage(role: .assistant, content: question.answer),
  ]
  return JSON.object([
    .init("image", .string(image)), .init("conversations", .array(messages.map(\.json))),
  ]).compactText + "\n"
}

private func line(
  ofTask question: SceneQuestion, _ image: String, objects: Int
) -> String {
  VerifiableTask(
    name: question.kind.rawValue, messages: [ChatMessage(role: .user, content: "<image>\n" + question.text)],
    check: question.kind == .count ? .number(Double(question.answer) ?? 0) : .text([question.answer]),
    images: [image], chance: question.kind.chance(objects: objects)
  ).json.compactText + "\n"
}
