import Foundation
import Rewards
import Storage
import Tokenization

/// Turns tasks into a data directory for `grpo`: shards of prompts, of which nothing is trained on, and beside them the
/// tasks themselves, a line of JSON for each document in the same order, whose checks say what an answer is worth.
package struct TaskPreparation: Sendable {
  package var paths: [String]
  package var template: ChatTemplate
  package var tokenizer: Tokenizer
  /// Most tokens of a prompt; tasks with a longer one are left out, since a question that is cut is another question.
  package var maximumTokens = 512
  package var heldOutFraction = 0.02
  package var seed = 42

  package init(paths: [String], template: ChatTemplate, tokenizer: Tokenizer) {
    self.paths = paths
    self.template = template
    self.tokenizer = tokenizer
  }

  /// Puts the data at `directory`, which appears whole or not at all.
  ///
  /// - Throws: `FileError`; `TaskProblem` for a row that is no task; `CorpusError` when no task is left, or `directory` holds
  ///   something else; what the template refuses.
  package func write(to directory: String, programVersion: String) throws -> DataManifest {
    var manifest = DataManifest(
      programVersion: programVersion, kind: .grpo, tokenizerHash: tokenizer.contentHash,
      vocabularySize: tokenizer.vocabularySize, seed: seed, heldOutFraction: heldOutFraction, inputs: [],
      filters: ["max-tokens": String(maximumTokens)])
    var prompts: [Prompt] = []
    for path in paths {
      let tasks = try VerifiableTask.read(path)
      try VerifiableTask.refusePictures(tasks, in: path)
      let bytes = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
      manifest.inputs.append(.init(path: path, bytes: bytes ?? 0, format: .jsonLines, encoding: nil))
      manifest.rowsRead += tasks.count
      for task in tasks {
        let prompt = try task.prompt(template, tokenizer)
        guard prompt.tokens.count <= maximumTokens else {
          manifest.rowsDropped[DropReason.promptTooLong.rawValue, default: 0] += 1
          continue
        }
        prompts.append(Prompt(task: task, chat: prompt, turn: try task.session(template, tokenizer)?.turn))
      }
    }
    guard !prompts.isEmpty else {
      throw CorpusError(
        "\(paths.joined(separator: ", ")): all \(manifest.rowsRead) prompts are longer than --max-tokens "
          + "\(maximumTokens). Raise it, as far as the model's context allows.")
    }
    manifest.rowsKept = prompts.count
    try checkReplaceable(directory)
    try AtomicDirectory.write(directory) { temporary in
      let sides = split(prompts)
      for (side, isHeldOut) in [(sides.training, false), (sides.heldOut, true)] {
        var writer = SplitWriter(directory: temporary, isHeldOut: isHeldOut, tokenizer: tokenizer, kind: .grpo)
        for prompt in side {
          var block = EncodedBlock()
          block.tokens = prompt.chat.tokens
          block.trained = [UInt8](repeating: 0, count: block.tokens.count)
          let document = EncodedBlock.Document(
            tokenEnd: block.tokens.count, textBytes: 0, characters: 0, isHeldOut: isHeldOut)
          try writer.append(document, 0..<block.tokens.count, of: block)
        }
        try writer.finish()
        if isHeldOut { manifest.heldOut = writer.totals } else { manifest.training = writer.totals }
        manifest.shards += writer.shards
        let text = side.map { $0.line + "\n" }.joined()
        try AtomicFile.write(text, to: temporary + "/" + TaskDocuments.fileName(isHeldOut: isHeldOut))
        manifest.tasks = (manifest.tasks ?? []) + [TaskDocuments.digest(text)]
      }
      try tokenizer.save(to: temporary)
      try manifest.write(to: temporary)
    }
    return manifest
  }

  private struct Prompt {
    var task: VerifiableTask
    var chat: ChatPrompt
    var turn: ToolTurn?

    var line: String {
      guard case .object(var members) = task.json else { return task.json.compactText }
      if chat.opensReasoning { members.append(.init(TaskDocuments.opensReasoning, .bool(true))) }
      if let turn {
        let texts = JSON.object([.init("before", .string(turn.before)), .init("after", .string(turn.after))])
        members.append(.init(TaskDocuments.toolTurn, texts))
      }
      return JSON.object(members).compactText
    }
  }

  /// By the question's content, as for other data; of 20 or more at least one is held out.
  private func split(_ prompts: [Prompt]) -> (training: [Prompt], heldOut: [Prompt]) {
    var selection = HeldOutSelection(fraction: heldOutFraction, seed: seed)
    let digests = prompts.map { selection.digest(of: $0.task.messages, tools: $0.task.tools) }
    if heldOutFraction > 0, prompts.count >= 20, !digests.contains(where: selection.contains) {
      selection.last = digests.map(\.high).min()
    }
    let isHeldOut = digests.map(selection.contains)
    let training = zip(prompts, isHeldOut).filter { !$1 }.map(\.0)
    let heldOut = zip(prompts, isHeldOut).filter { $1 }.map(\.0)
    return training.isEmpty ? (heldOut, []) : (training, heldOut)
  }
}

/// The tasks of prepared prompts, by the numbers of their documents.
package struct TaskDocuments: Sendable {
  package struct Entry: Sendable {
    package var task: VerifiableTask
    /// Whether the prompt has begun the reasoning of the answer.
    package var opensReasoning: Bool
    /// Nil for a task whose tools are not run.
    package var tools: ToolSession?
  }

  package let training: [Entry]
  package let heldOut: [Entry]

  static let opensReasoning = "opens_reasoning"
  static let toolTurn = "tool_turn"
  static let fileSuffix = "-tasks.jsonl"

  static func fileName(isHeldOut: Bool) -> String { (isHeldOut ? "held-out" : "train") + fileSuffix }

  static func digest(_ text: String) -> String {
    Array(text.utf8).withUnsafeBytes { SHA256.hexadecimalDigest($0) }
  }

  /// - Throws: `FileError`, or `CorpusError` when the files are not those that the manifest was written with.
  package init(_ data: TokenShardDataset) throws {
    var sides: [[Entry]] = []
    for (place, split) in [data.training, data.heldOut].enumerated() {
      let path = data.directory + "/" + Self.fileName(isHeldOut: place == 1)
      let text = String(decoding: try MappedFile.contents(of: path), as: UTF8.self)
      guard let digests = data.manifest.tasks, digests.count == 2, digests[place] == Self.digest(text) else {
        throw CorpusError("\(path) is not the file that the data were prepared with. Prepare the data again.")
      }
      let entries = try text.split(separator: "\n").map { line in
        let row = try JSON(parsing: String(line))
        let task = try VerifiableTask(row)
        let turn = row[Self.toolTurn].map {
          ToolTurn(before: $0["before"]?.stringValue ?? "", after: $0["after"]?.stringValue ?? "")
        }
        return Entry(
          task: task, opensReasoning: row[Self.opensReasoning]?.boolValue ?? false, tools: ToolSession(task, turn))
      }
      guard entries.count == split.documentCount else {
        throw CorpusError("\(path) and the shards contradict each other. Prepare the data again.")
      }
      sides.append(entries)
    }
    (training, heldOut) = (sides[0], sides[1])
  }
}
