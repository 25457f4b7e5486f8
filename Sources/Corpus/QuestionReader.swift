import Storage
import Tokenization

/// A question that a model is to answer: its messages, the last of which is not the model's.
package struct Question: Sendable {
  package let messages: [ChatMessage]
  /// Descriptions of tools, for a chat template that knows them.
  package let tools: [JSON]
}

/// Reads the questions of files, in whatever format of `InputFormat`, in order.
///
/// A row is what `data sft` reads: messages, or a question under one of the usual names with `system`, `history` and `input`.
/// What answers the last question is left out, so that the questions of a file can be answered again. A line of plain text is a
/// question.
package struct QuestionReader {
  package let files: [InputFile]
  package let passedOver: [PassedOver]
  private let template: JinjaChatTemplate?

  /// - Parameter template: what it knows, tools and reasoning, is kept; nil for v1's.
  /// - Throws: `CorpusError` or `FileError` for a path that is missing, empty, or no text.
  package init(inputs: [String], _ options: InputOptions, template: JinjaChatTemplate?) throws {
    let found = try InputFiles(inputs, options)
    files = found.files
    passedOver = found.passedOver
    self.template = template
  }

  /// All questions in memory, and the rows that were left out because they are broken.
  ///
  /// - Throws: `CorpusError` when no row is a question, or more than half of a file's rows are broken.
  package func questions() throws -> (questions: [Question], broken: BrokenRows) {
    let blocks = BlockReader(files)
    let reader = RowReader(template: template)
    var questions: [Question] = []
    var broken = BrokenRows()
    while let block = try blocks.next() {
      var rowCount = block.oversizedLines.count
      for line in block.oversizedLines {
        broken.add(oversizedReason, file: block.file.path, line: line, block: block.index)
      }
      for record in block.records where !RowReader.isBlank(block.bytes(of: record)) {
        rowCount += 1
        do throws(RowProblem) {
          questions.append(try reader.question(of: record, in: block))
        } catch {
          broken.add(error.reason, file: block.file.path, line: record.line, block: block.index)
        }
      }
      broken.read(rowCount, of: block.file.path)
    }
    try broken.checkFiles()
    guard !questions.isEmpty else {
      throw CorpusError(
        broken.messages.first.map { "no row can be used: \($0)" }
          ?? "\(files.map(\.path).joined(separator: ", ")): there is no row in it. Give a file with questions.")
    }
    return (questions, broken)
  }
}

extension RowReader {
  static let goodQuestionRow = #"{"prompt": "Who are you?"}"#

  /// The conversation of a row up to its last question.
  func question(of record: Record, in block: Block) throws(RowProblem) -> Question {
    if let text = try readFields(record, of: block, asIn: Self.goodQuestionRow) {
      return Question(messages: [ChatMessage(role: .user, content: String(decoding: text, as: UTF8.self))], tools: [])
    }
    guard var asked = try askedConversation() else {
      throw RowProblem(
        "there is no question in it: \"prompt\", \"messages\" or \"conversations\" are expected, found "
          + "\(fields.names.inQuotes), as in: \(Self.goodQuestionRow)")
    }
    guard !asked.hasToolTurns else {
      throw RowProblem("it has calls or results of tools, for which the chat template has no place")
    }
    asked.removeOpeningAnswer()
    try asked.checkTurns()
    while asked.messages.last?.role == .assistant { asked.messages.removeLast() }
    guard let last = asked.messages.last, !last.role.isInstruction else {
      throw RowProblem("there is no question in it")
    }
    guard !last.isEmptyTurn else { throw RowProblem("its question is empty") }
    return Question(messages: asked.messages, tools: asked.tools)
  }

  private func askedConversation() throws(RowProblem) -> RowConversation? {
    if let listed = try listedMessages(followsMarks: false) { return listed }
    for name in Self.questionFields + names.turns.map(\.question) {
      guard let index = fields.value(of: name) else { continue }
      if let list = try structure(index), list.kind == .array {
        fields.use(index)
        return try withSystem(try messages(list, key: name, followsMarks: false))
      }
      return try prompt(question: try fields.text(index))
    }
    return nil
  }
}
