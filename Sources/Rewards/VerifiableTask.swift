import Foundation
import Storage
import StructuredOutput
import Tokenization

/// A question whose answer can be checked: one row of JSONL.
///
///     {"task": "addition", "messages": [{"role": "user", "content": "47 + 38 = ?"},
///      {"role": "assistant", "content": "47 + 38 = 85"}], "check": {"kind": "number", "value": 85}}
///
/// The last message may be an answer that shows the form; `data sft` learns it, and whoever asks the question leaves it
/// out. `tools` are descriptions of tools, as in the API. `image` names a picture's file, or several with commas between
/// them, each for an `<image>` in the messages; `chance` is the share that guessing gets right.
///
/// With `"turns": 3` the program runs the tools (`BuiltInTool`) that an answer calls, as often as that, and the model goes on
/// with their results. All messages after the last question then show the form, calls and results included, and `table` is what
/// `look_up` looks into.
package struct VerifiableTask: Sendable, Equatable {
  /// What kind of question it is: a line of the table of `eval tasks`.
  package var name: String
  /// The conversation up to the question.
  package var messages: [ChatMessage]
  /// An answer in the right form; nil where the row has none.
  package var demonstration: String?
  /// Calls and results that lead to the demonstration.
  package var shownSteps: [ChatMessage] = []
  package var tools: [JSON] = []
  /// How often tools may be called and are run; 0: never.
  package var turns = 0
  package var table: [JSON.Member] = []
  package var check: AnswerCheck
  /// Files of pictures, below the directory of the file that the task is in.
  package var images: [String] = []
  /// The share that guessing gets right, where that is known.
  package var chance: Double?

  package init(
    name: String, messages: [ChatMessage], demonstration: String? = nil, tools: [JSON] = [], check: AnswerCheck,
    images: [String] = [], chance: Double? = nil
  ) {
    self.images = images
    self.chance = chance
    self.name = name
    self.messages = messages
    self.demonstration = demonstration
    self.tools = tools
    self.check = check
  }

  package static let exampleRow =
    #"{"messages": [{"role": "user", "content": "47 + 38 = ?"}], "check": {"kind": "number", "value": 85}}"#

  // MARK: - As a row

  package var json: JSON {
    var members = [JSON.Member("task", .string(name))]
    if !images.isEmpty { members.append(.init("image", .string(images.joined(separator: ",")))) }
    let answer = demonstration.map { [ChatMessage(role: .assistant, content: $0).json] } ?? []
    members.append(.init("messages", .array((messages + shownSteps).map(\.json) + answer)))
    if !tools.isEmpty { members.append(.init("tools", .array(tools))) }
    if turns > 0 { members.append(.init("turns", .integer(turns))) }
    if !table.isEmpty { members.append(.init("table", .object(table))) }
    members.append(.init("check", check.json))
    if let chance { members.append(.init("chance", .number(chance))) }
    return .object(members)
  }

  /// - Throws: `TaskProblem`, which says what the row lacks.
  package init(_ row: JSON) throws(TaskProblem) {
    guard case .object = row else { throw TaskProblem("it is no object") }
    guard let list = row["messages"]?.arrayValue ?? row["conversations"]?.arrayValue, !list.isEmpty else {
      throw TaskProblem("it has no list of \"messages\"")
    }
    messages = []
    for (index, message) in list.enumerated() {
      guard let role = ChatMessage.Role(rawValue: message["role"]?.stringValue ?? "") else {
        throw TaskProblem("message \(index + 1) has no \"role\" of system, user, assistant or tool")
      }
      guard let content = message["content"]?.stringValue else {
        throw TaskProblem("message \(index + 1) has no \"content\" with a text")
      }
      var fields: [JSON.Member] = []
      if case .object(let members) = message {
        fields = members.filter { !["role", "content", "reasoning_content"].contains($0.key) }
      }
      messages.append(
        ChatMessage(
          role: role, content: content, reasoning: message["reasoning_content"]?.stringValue, fields: fields))
    }
    if let last = messages.last, last.role == .assistant {
      demonstration = last.content
      messages.removeLast()
    }
    tools = row["tools"]?.arrayValue ?? []
    if let image = row["image"], !image.isNull {
      guard let names = image.stringValue else { throw TaskProblem("its \"image\" is no text") }
      images = names.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    if let chance = row["chance"], !chance.isNull {
      guard let share = chance.doubleValue, (0...1).contains(share) else {
        throw TaskProblem("its \"chance\" is no number from 0 to 1")
      }
      self.chance = share
    }
    guard let check = row["check"] else { throw TaskProblem("it has no \"check\"") }
    self.check = try AnswerCheck(check)
    name = row["task"]?.stringValue ?? self.check.kind
    try readTurns(row)
    guard messages.last?.role == .user || messages.last?.role == .tool else {
      throw TaskProblem("there is no question before the answer")
    }
  }

  /// The most that a task may ask for.
  private static let mostTurns = 8

  private mutating func readTurns(_ row: JSON) throws(TaskProblem) {
    if let table = row["table"] {
      guard case .object(let members) = table else { throw TaskProblem("its \"table\" is no object") }
      self.table = members
    }
    guard let value = row["turns"] else { return }
    guard let turns = value.integerValue, (1...Self.mostTurns).contains(turns) else {
      throw TaskProblem("its \"turns\" is no whole number from 1 to \(Self.mostTurns)")
    }
    let known = BuiltInTool.allCases.map(\.rawValue)
    let names = tools.map { $0["function"]?["name"]?.stringValue ?? "" }
    guard !names.isEmpty else { throw TaskProblem("it has \"turns\" and no \"tools\" to call") }
    if let other = names.first(where: { !known.contains($0) }) {
      throw TaskProblem(
        "it has \"turns\", and a tool \(JSON.quoted(other)) that the program cannot run; there are "
          + known.joined(separator: ", "))
    }
    self.turns = turns
    let question = messages.lastIndex { $0.role == .user } ?? messages.count - 1
    shownSteps = Array(messages[(question + 1)...])
    messages.removeSubrange((question + 1)...)
  }

  /// The tasks of a JSONL file, one a line; blank lines are passed over.
  ///
  /// - Throws: `FileError`; `TaskProblem` with the place of the first row that is none.
  package static func read(_ path: String) throws -> [VerifiableTask] {
    let file = try MappedFile(path)
    var tasks: [VerifiableTask] = []
    var number = 0
    for line in file.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      guard line.contains(where: { $0 > 0x20 }) else { continue }
      func problem(_ reason: String) -> TaskProblem {
        TaskProblem("\(path):\(number): \(reason), as in: \(exampleRow)")
      }
      let row: JSON
      do { row = try JSON(parsing: String(decoding: line, as: UTF8.self)) } catch {
        throw problem("this is no JSON (\(error.reason))")
      }
      do throws(TaskProblem) { tasks.append(try VerifiableTask(row)) } catch { throw problem(error.description) }
    }
    guard !tasks.isEmpty else { throw TaskProblem("\(path): there is no task in it. Make some: minimind data tasks") }
    return tasks
  }

  /// - Throws: `TaskProblem` for the first task with a picture, which only `eval pictures` asks.
  package static func refusePictures(_ tasks: [VerifiableTask], in path: String) throws(TaskProblem) {
    guard let place = tasks.firstIndex(where: { !$0.images.isEmpty }) else { return }
    throw TaskProblem("\(path): task \(place + 1) has a picture, which is not looked at here. Leave it out.")
  }

  // MARK: - As a prompt

  /// The conversation as a model reads it that answers next. A template without a place for tools gets them in the
  /// system message, as `serve` writes them.
  ///
  /// - Throws: what the template or the tools' descriptions are refused for.
  package func prompt(_ template: ChatTemplate, _ tokenizer: Tokenizer) throws -> ChatPrompt {
    guard !tools.isEmpty, template.jinja?.knowsTools != true else {
      return try template.prompt(messages, tools: tools, with: tokenizer)
    }
    let text = ToolText.instructions(try Tool.list(.array(tools)))
    var messages = messages
    if messages[0].role.isInstruction {
      messages[0].content += "\n\n" + text
    } else {
      messages.insert(ChatMessage(role: .system, content: text), at: 0)
    }
    return try template.prompt(messages, with: tokenizer)
  }
}

/// Why a row is no task, or a task cannot be made.
package struct TaskProblem: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
