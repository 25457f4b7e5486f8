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
      "Directory for train.jsonl, captions.jsonl, held-out.jsonl and images; scenes that are already there are replaced."
  )
  let languages = Option.list(
    "language", "en|zh", help: "Only texts in English (en) or in Chinese (zh). Half of each if left out.")
  let count = Option.integer("count", default: 2000, in: 1...1_000_000, help: "Pictures for training.")
  let heldOut = Option.integer("held-out-count", default: 200, in: 0...100_000, help: "Pictures held out.")
  let objects = Option.integer(
    "objects", default: SceneSet.mostObjects, in: 1...SceneSet.mostObjects, help: "The most shapes of a picture.")
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
    let total = invocation[count] + invocation[heldOut]
    let progress = ProgressLine("drawing", total: total, unit: .things("pictures"), console: Console.standardOutput)
    defer { progress.finish() }
    Interruption.watch()
    var questionCounts = (training: 0, heldOut: 0)
    try AtomicDirectory.write(directory) { temporary in
      try createDirectory(temporary + "/images")
      var (training, captions, held) = ("", "", "")
      for (isHeldOut, wanted) in [(false, invocation[count]), (true, invocation[heldOut])] {
        let set = SceneSet(
          count: wanted, objects: invocation[objects], isHeldOut: isHeldOut, side: invocation[size], languages: spoken,
          seed: invocation[Option.seed])
        try set.forEach { index, entry in
          try Interruption.check()
          let number = String(repeating: "0", count: 6 - min(6, String(index + 1).count)) + String(index + 1)
          let image = "images/\(isHeldOut ? "held-out" : "train")-\(number).png"
          try AtomicDirectory.addFile("\(temporary)/\(image)", try entry.picture.png())
          if isHeldOut {
            held += entry.questions.map { line(ofTask: $0, image, objects: invocation[objects]) }.joined()
            questionCounts.heldOut += entry.questions.count
          } else {
            captions += caption(entry.caption, of: image)
            training += entry.questions.map { line(image, $0.text, $0.answer) }.joined()
            questionCounts.training += entry.questions.count
          }
          progress.update(completed: index + (isHeldOut ? invocation[count] : 0) + 1)
        }
      }
      for (name, text) in [("train", training), ("captions", captions), ("held-out", held)] where !text.isEmpty {
        try AtomicDirectory.addFile("\(temporary)/\(name).jsonl", Array(text.utf8))
      }
    }
    progress.finish()
    let side = "\(invocation[size]) × \(invocation[size]) pixels"
    try Console.standardOutput.write(
      renderPairs([
        ("training", "\(invocation[count]) pictures of \(side) in \(directory)/images"),
        ("", "\(questionCounts.training) questions in \(directory)/train.jsonl"),
        ("", "\(invocation[count]) captions in \(directory)/captions.jsonl"),
        (
          "held out",
          invocation[heldOut] == 0
            ? "none"
            : "\(invocation[heldOut]) pictures, \(questionCounts.heldOut) questions in \(directory)/held-out.jsonl"
        ),
      ]))
  }
}()

private let sceneNames: Set = ["train.jsonl", "captions.jsonl", "held-out.jsonl", "images"]

/// - Throws: `CommandError` for a directory with other files in it.
private func checkHoldsScenesOnly(_ directory: String) throws {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
  guard names.allSatisfy(sceneNames.contains), names.isEmpty || names.contains("captions.jsonl") else {
    throw CommandError(
      "\(directory) holds other files than scenes and is left as it is. Choose another output directory.")
  }
}

/// A row of text for pretraining.
private func caption(_ text: String, of image: String) -> String {
  JSON.object([.init("image", .string(image)), .init("text", .string("<image>\n" + text))]).compactText + "\n"
}

/// A row as MiniMind-V's data have it.
private func line(_ image: String, _ question: String, _ answer: String) -> String {
  let messages = [
    ChatMessage(role: .user, content: "<image>\n" + question), ChatMessage(role: .assistant, content: answer),
  ]
  return JSON.object([
    .init("image", .string(image)), .init("conversations", .array(messages.map(\.json))),
  ]).compactText + "\n"
}

private func line(
  ofTask question: (kind: SceneKind, text: String, answer: String), _ image: String, objects: Int
) -> String {
  VerifiableTask(
    name: question.kind.rawValue, messages: [ChatMessage(role: .user, content: "<image>\n" + question.text)],
    check: question.kind == .count ? .number(Double(question.answer) ?? 0) : .text([question.answer]),
    images: [image], chance: question.kind.chance(objects: objects)
  ).json.compactText + "\n"
}
