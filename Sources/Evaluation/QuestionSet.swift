import Corpus
import Foundation

/// A question with four answers, one of them right.
package struct ChoiceQuestion: Sendable, Equatable {
  /// What the answers are called.
  package static let letters = ["A", "B", "C", "D"]

  package var text: String
  /// [letters] the answers.
  package var choices: [String]
  /// The index of the right answer.
  package var answer: Int
  /// Where it stands in its file.
  package var line: Int

  package init(text: String, choices: [String], answer: Int, line: Int) {
    self.text = text
    self.choices = choices
    self.answer = answer
    self.line = line
  }
}

/// The questions of one file, and solved ones that can be shown before them.
package struct ChoiceSubject: Sendable, Equatable {
  package var name: String
  package var questions: [ChoiceQuestion]
  package var examples: [ChoiceQuestion]

  package init(name: String, questions: [ChoiceQuestion], examples: [ChoiceQuestion] = []) {
    self.name = name
    self.questions = questions
    self.examples = examples
  }
}

/// A test as C-Eval, C-MMLU and their like are published: a directory for each split, with a CSV file for each subject,
/// its columns named question, A, B, C, D and answer in any order and case, others beside them.
package struct QuestionSet: Sendable {
  package let subjects: [ChoiceSubject]

  package init(subjects: [ChoiceSubject]) { self.subjects = subjects }

  /// - Parameters:
  ///   - directory: holds the directories of the splits.
  ///   - split: whose questions are asked, as "val".
  ///   - exampleSplit: whose questions come as examples, as "dev"; nil for none.
  ///   - names: only these subjects; empty for all.
  /// - Throws: `EvaluationError`, `CorpusError` or `FileError`: what is missing, or `file:line: reason` for a broken row.
  package init(directory: String, split: String, exampleSplit: String? = nil, subjects names: [String] = []) throws {
    let files = try Self.files(directory, split)
    let known = files.map(\.name)
    if let unknown = names.first(where: { !known.contains($0) }) {
      throw EvaluationError(
        "\(directory)/\(split) has no subject \"\(unknown)\"; it has \(known.joined(separator: ", ")).")
    }
    let exampleFiles = try exampleSplit.map { try Self.files(directory, $0) } ?? []
    subjects = try files.filter { names.isEmpty || names.contains($0.name) }.map { name, file in
      var subject = ChoiceSubject(name: name, questions: try Self.read(file))
      guard let exampleSplit else { return subject }
      guard let examples = exampleFiles.first(where: { $0.name == name }) else {
        throw EvaluationError(
          "\(directory)/\(exampleSplit) has no examples for the subject \"\(name)\". Add them, or leave --shots at 0.")
      }
      subject.examples = try Self.read(examples.file)
      return subject
    }
  }

  package var questionCount: Int { subjects.reduce(0) { $0 + $1.questions.count } }

  /// The CSV files of a split with the names of their subjects: the file's, without C-Eval's ending `_val`.
  private static func files(_ directory: String, _ split: String) throws -> [(name: String, file: InputFile)] {
    let path = directory + "/" + split
    guard FileManager.default.fileExists(atPath: path) else {
      let found = (try? FileManager.default.contentsOfDirectory(atPath: directory))?.sorted() ?? []
      throw EvaluationError(
        "\(directory) has no directory \"\(split)\" with CSV files, but "
          + (found.isEmpty ? "nothing at all" : found.prefix(8).joined(separator: ", "))
          + ". Give the directory above the splits, and the split's name with --split.")
    }
    let files = try InputFiles([path]).files.filter { $0.format == .csv }.map { file in
      let stem = ((file.path as NSString).lastPathComponent as NSString).deletingPathExtension
      return (name: stem.hasSuffix("_" + split) ? String(stem.dropLast(split.count + 1)) : stem, file: file)
    }
    if let double = files.first(where: { file in files.count { $0.name == file.name } > 1 }) {
      throw EvaluationError("\(path) holds two files for the subject \"\(double.name)\". Each subject is one file.")
    }
    guard !files.isEmpty else { throw EvaluationError("\(path) holds no CSV file. Each subject is one.") }
    return files
  }

  private static func read(_ file: InputFile) throws -> [ChoiceQuestion] {
    let blocks = BlockReader([file])
    let rows = RowReader()
    var questions: [ChoiceQuestion] = []
    while let block = try blocks.next() {
      if let line = block.oversizedLines.first { throw EvaluationError("\(file.path):\(line): the row is too long.") }
      for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
        do throws(RowProblem) {
          questions.append(try question(try rows.read(record, of: block), line: record.line))
        } catch {
          throw EvaluationError("\(file.path):\(record.line): \(error.reason).")
        }
      }
    }
    guard !questions.isEmpty else { throw EvaluationError("\(file.path): there is no question in it.") }
    return questions
  }

  private static func question(_ row: RowReader.Row, line: Int) throws(RowProblem) -> ChoiceQuestion {
    guard case .csv(let columns, let fields) = row else { preconditionFailure("a row of a CSV file") }
    func field(_ name: String) throws(RowProblem) -> String {
      guard let column = columns.firstIndex(where: { $0.lowercased() == name.lowercased() }) else {
        throw RowProblem(
          "there is no column \"\(name)\" but \(columns.map { "\"\($0)\"" }.joined(separator: ", ")); "
            + "the first line must name question, A, B, C, D and answer")
      }
      return fields.string(column)
    }
    let text = try field("question")
    guard text.contains(where: { !$0.isWhitespace }) else { throw RowProblem("the question is empty") }
    var choices: [String] = []
    for letter in ChoiceQuestion.letters { choices.append(try field(letter)) }
    let answer = try field("answer").trimmingCharacters(in: .whitespaces)
    guard let index = ChoiceQuestion.letters.firstIndex(of: answer.uppercased()) else {
      throw RowProblem(
        "the answer is \"\(answer.prefix(40))\", one of A, B, C and D is expected; a split without answers cannot be "
          + "measured with")
    }
    return ChoiceQuestion(text: text, choices: choices, answer: index, line: line)
  }
}
