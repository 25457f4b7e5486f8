import Corpus
import Foundation
import Rewards
import Storage
import Tokenization

/// A question about pictures, and what makes an answer to it right.
package struct PictureQuestion: Sendable {
  /// Where a picture is.
  package enum Source: Sendable, Equatable {
    /// A file below the directory of pictures.
    case file(String)
    /// A file's content in base64.
    case content(String)
  }

  package enum Check: Sendable, Equatable {
    case task(AnswerCheck)
    /// Options by their letters, and the letter of the right one.
    case option([String: String], right: String)
    /// Whether yes is right.
    case yes(Bool)
  }

  /// A line of the table.
  package var kind: String
  /// With a `PictureMark` where a picture is.
  package var messages: [ChatMessage]
  /// By their marks.
  package var pictures: [Source]
  package var check: Check
  /// The share that guessing gets right, where that is known.
  package var chance: Double?
  /// `file:line`.
  package var place: String

  package init(
    kind: String, messages: [ChatMessage], pictures: [Source], check: Check, chance: Double?, place: String
  ) {
    self.kind = kind
    self.messages = messages
    self.pictures = pictures
    self.check = check
    self.chance = chance
    self.place = place
  }

  /// Whether an answer, its reasoning left out, is right.
  package func isMet(by answer: String) -> Bool {
    switch check {
    case .task(let check): check.isMet(by: answer)
    case .option(let options, let right): Self.letter(answer, options) == right
    case .yes(let isYes): Self.saysYes(answer) == isYes
    }
  }

  /// The letter that an answer begins with, as in `B`, `B.` or `(B) a cat`, or that of the option which it is.
  static func letter(_ answer: String, _ options: [String: String]) -> String? {
    let text = answer.trimmingCharacters(in: .whitespacesAndNewlines)
    let start = text.drop { $0 == "(" || $0 == "（" }
    if let first = start.first.map({ String($0).uppercased() }), options[first] != nil,
      start.dropFirst().first.map({ !$0.isLetter && !$0.isNumber }) ?? true
    {
      return first
    }
    let plain = FinalAnswer.normalized(text)
    return options.first { FinalAnswer.normalized($0.value) == plain }?.key
  }

  /// As POPE's evaluation reads an answer (Li et al. 2023, arXiv 2305.10355): its first sentence says no where it has one of three
  /// words, and yes otherwise.
  static func saysYes(_ answer: String) -> Bool {
    let sentence = answer.split(separator: ".", omittingEmptySubsequences: false).first ?? ""
    let words = sentence.replacing(",", with: "").split(whereSeparator: \.isWhitespace)
    return !words.contains { $0 == "No" || $0 == "not" || $0 == "no" }
  }
}

/// Questions about pictures as files have them: tasks of this program, POPE's rows, MMBench's table.
package enum PictureQuestions {
  package static let letters = ["A", "B", "C", "D", "E", "F"]

  /// - Throws: `FileError`; `EvaluationError` with the place of the first row that is none of them.
  package static func read(_ path: String) throws -> [PictureQuestion] {
    let isTable = ["tsv", "csv"].contains((path as NSString).pathExtension.lowercased())
    let questions = try isTable ? table(path) : rows(path)
    guard !questions.isEmpty else {
      throw EvaluationError("\(path): there is no question in it. Make some: minimind data scenes")
    }
    return questions
  }

  // MARK: - Rows of JSON

  private static func rows(_ path: String) throws -> [PictureQuestion] {
    let file = try MappedFile(path)
    var questions: [PictureQuestion] = []
    var number = 0
    for line in file.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      guard line.contains(where: { $0 > 0x20 }) else { continue }
      let place = "\(path):\(number)"
      let row: JSON
      do { row = try JSON(parsing: String(decoding: line, as: UTF8.self)) } catch {
        throw EvaluationError("\(place): this is no JSON (\(error.reason)).")
      }
      questions.append(row["check"] == nil ? try yesNo(row, place) : try task(row, place))
    }
    return questions
  }

  /// A row as `data scenes` writes them.
  private static func task(_ row: JSON, _ place: String) throws -> PictureQuestion {
    var task: VerifiableTask
    do throws(TaskProblem) { task = try VerifiableTask(row) } catch {
      throw EvaluationError("\(place): \(error.description).")
    }
    guard !task.images.isEmpty else {
      throw EvaluationError("\(place): there is no \"image\". Questions about texts are for eval tasks.")
    }
    var count = 0
    for index in task.messages.indices where task.messages[index].role == .user {
      (task.messages[index].content, count) = PictureMark.placed(task.messages[index].content, from: count)
    }
    guard count == task.images.count, count <= PictureMark.limit else {
      throw EvaluationError(
        "\(place): there are \(task.images.count) pictures for \(count) placeholders <image>, and at most "
          + "\(PictureMark.limit) are possible.")
    }
    return PictureQuestion(
      kind: task.name, messages: task.messages, pictures: task.images.map { .file($0) }, check: .task(task.check),
      chance: task.chance, place: place)
  }

  /// A row of POPE: `{"image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"}`.
  private static func yesNo(_ row: JSON, _ place: String) throws -> PictureQuestion {
    guard let image = row["image"]?.stringValue, let text = row["text"]?.stringValue,
      let label = row["label"]?.stringValue?.lowercased(), ["yes", "no"].contains(label)
    else {
      throw EvaluationError(
        "\(place): a row has \"image\", \"messages\" and \"check\", as data scenes writes them, or \"image\", \"text\" and "
          + "\"label\", yes or no, as POPE has them.")
    }
    return PictureQuestion(
      kind: row["category"]?.stringValue ?? "yes or no", messages: [question(text)], pictures: [.file(image)],
      check: .yes(label == "yes"), chance: 0.5, place: place)
  }

  private static func question(_ text: String) -> ChatMessage {
    ChatMessage(role: .user, content: PictureMark.text(0) + "\n" + PictureMark.cleaned(text))
  }

  // MARK: - Tables

  /// The table of MMBench: question, hint, A to D, answer, category, and the picture in base64.
  private static func table(_ path: String) throws -> [PictureQuestion] {
    let files = try InputFiles([path]).files
    let blocks = BlockReader(files)
    let rows = RowReader()
    var questions: [PictureQuestion] = []
    var pictures: [String: String] = [:]
    while let block = try blocks.next() {
      if let line = block.oversizedLines.first { throw EvaluationError("\(path):\(line): the row is too long.") }
      for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
        let place = "\(path):\(record.line)"
        do throws(RowProblem) {
          questions.append(try question(try rows.read(record, of: block), &pictures, place))
        } catch {
          throw EvaluationError("\(place): \(error.reason).")
        }
      }
    }
    return questions
  }

  private static func question(
    _ row: RowReader.Row, _ pictures: inout [String: String], _ place: String
  ) throws(RowProblem) -> PictureQuestion {
    guard case .csv(let columns, let fields) = row else { throw RowProblem("this is no table") }
    func field(_ name: String) -> String? {
      guard let column = columns.firstIndex(where: { $0.lowercased() == name.lowercased() }) else { return nil }
      let text = fields.string(column)
      return text.isEmpty || text == "nan" ? nil : text
    }
    func needed(_ name: String) throws(RowProblem) -> String {
      guard let text = field(name) else { throw RowProblem("there is no \"\(name)\" in it") }
      return text
    }
    var image = try needed("image")
    // MMBench has the number of another row where the picture is the same.
    if image.count <= 64, let other = pictures[image] { image = other }
    if let index = field("index") { pictures[index] = image }
    var options: [String: String] = [:]
    for letter in letters { options[letter] = field(letter) }
    let answer = try needed("answer").uppercased()
    guard options.count >= 2, options[answer] != nil else {
      throw RowProblem("the answer is \"\(answer.prefix(20))\", which is none of its options")
    }
    let listed = letters.compactMap { letter in options[letter].map { "\(letter). \($0)" } }
    let lines =
      [field("hint"), try needed("question")].compactMap(\.self) + listed
      + ["Answer with the option's letter from the given choices directly."]
    return PictureQuestion(
      kind: field("category") ?? "choices", messages: [question(lines.joined(separator: "\n"))],
      pictures: [.content(image)], check: .option(options, right: answer), chance: 1 / Double(options.count),
      place: place)
  }
}

/// How many questions of each kind were answered right.
package struct PictureScores: Sendable {
  package struct Line: Sendable {
    package var name: String
    package var score = ChoiceScore()
    /// The mean of what guessing gets right; nil where that is not known of a question.
    package var chance: Double?
  }

  /// In the order of their names.
  package let lines: [Line]
  package let total: Line

  /// - Parameter questions: at least one, each with whether it was answered right.
  package init(_ questions: [(question: PictureQuestion, isRight: Bool)]) {
    func line(_ name: String, _ part: [(question: PictureQuestion, isRight: Bool)]) -> Line {
      var line = Line(name: name)
      for (_, isRight) in part { line.score.add(isCorrect: isRight) }
      let chances = part.compactMap(\.question.chance)
      if chances.count == part.count { line.chance = chances.reduce(0, +) / Double(part.count) }
      return line
    }
    lines = Dictionary(grouping: questions, by: \.question.kind).sorted { $0.key < $1.key }.map(line)
    total = line("total", questions)
  }
}
