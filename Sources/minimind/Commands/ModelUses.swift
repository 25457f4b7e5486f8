import Foundation
import Model
import ModelFiles
import Storage
import Tokenization
import Training

/// What the commands can do with a model's files, and why they cannot do the rest.
struct ModelUses: Encodable {
  /// A file of the model that commands need.
  enum Part: String, CaseIterable {
    case weights, tokenizer
    case chatTemplate = "chat template"
  }

  /// What is wrong with each part; a part that can be read is not in it.
  private(set) var problems: [Part: String] = [:]
  private(set) var works: [String] = []
  /// What does not work, each with the reason: a part, or what a format has no place for.
  private(set) var fails: [(use: String, reason: String)] = []

  /// The tokenizer, if it can be read.
  private(set) var tokenizer: Tokenizer?

  /// - Parameter directory: what `resolveModelDirectory` found.
  init(directory: String) {
    var stored: StoredModel?
    check(.weights) { stored = try StoredModel(modelDirectory: directory) }
    var tokenizer: Tokenizer?
    check(.tokenizer) {
      let read = try modelTokenizer(directory)
      tokenizer = read
      if let stored { try checkVocabulary(read, stored.configuration.vocabularySize, directory) }
    }
    self.tokenizer = tokenizer
    check(.chatTemplate) { _ = try ChatTemplate(TokenizerFiles(directory)) }
    scores = stored?.configuration.scoresTexts ?? false
    add(["generate", "eval", "serve"], needing: [.weights, .tokenizer])
    add(["chat"], needing: [.weights, .tokenizer, .chatTemplate])
    if scores { add(["eval reward"], needing: [.weights, .tokenizer, .chatTemplate], writing: false) }
    add(["data pretrain"], needing: [.tokenizer], writing: false)
    add(["data sft", "data dpo", "data kto", "data grpo"], needing: [.tokenizer, .chatTemplate], writing: false)
    let sees = stored?.configuration.sight != nil
    for stage in Stage.all {
      if sees && !stage.trainsSight {
        fails.append((stage.name, "the model sees, and this trains models of text alone"))
      } else {
        add([stage.name], needing: [.weights], writing: !stage.scores)
      }
    }
    for format in ModelFormats.written {
      let use = Self.convert + format.name
      let needed: [Part] = format.tokenizer == .inside ? [.weights, .tokenizer] : [.weights]
      guard let configuration = stored?.configuration, needed.allSatisfy({ problems[$0] == nil }) else {
        add([use], needing: needed)
        continue
      }
      do {
        try format.check(
          configuration, tokenizer: problems[.tokenizer] == nil ? tokenizer.map { ($0, directory) } : nil,
          holdsAdapter: PEFTAdapter.isAdapter(directory), path: format.name)
        works.append(use)
      } catch ModelFileError.unsupported(_, let feature) {
        fails.append((use, feature))
      } catch {
        fails.append((use, "\(error)"))
      }
    }
  }

  private static let convert = "convert --format "
  private static let scoringReason = "a reward model scores answers and writes none"

  /// Whether the model is a reward model.
  private var scores = false

  private mutating func check(_ part: Part, _ read: () throws -> Void) {
    do { try read() } catch { problems[part] = "\(error)" }
  }

  /// - Parameter writing: whether the uses are of a model that writes.
  private mutating func add(_ uses: [String], needing parts: [Part], writing: Bool = true) {
    if let part = parts.first(where: { problems[$0] != nil }) {
      fails += uses.map { ($0, part.rawValue) }
    } else if writing && scores {
      fails += uses.map { ($0, Self.scoringReason) }
    } else {
      works += uses
    }
  }

  // MARK: - Rendering

  private enum Key: String, CodingKey {
    case problems, works, fails
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(
      Dictionary(uniqueKeysWithValues: problems.map { ($0.key.rawValue, $0.value) }), forKey: .problems)
    try container.encode(works, forKey: .works)
    try container.encode(Dictionary(uniqueKeysWithValues: fails.map { ($0.use, $0.reason) }), forKey: .fails)
  }

  var text: String {
    var rows = Part.allCases.compactMap { part in problems[part].map { (name: part.rawValue, value: $0) } }
    let (formats, commands) = (
      works.filter { $0.hasPrefix(Self.convert) }, works.filter { !$0.hasPrefix(Self.convert) }
    )
    rows.append((name: "works", value: commands.isEmpty ? "nothing" : commands.joined(separator: ", ")))
    if !formats.isEmpty {
      let names = formats.map { $0.dropFirst(Self.convert.count) }
      rows.append((name: "converts", value: "to " + names.joined(separator: ", ")))
    }
    for (index, fail) in fails.enumerated() where !fails[..<index].contains(where: { $0.reason == fail.reason }) {
      let uses = fails.filter { $0.reason == fail.reason }.map(\.use).joined(separator: ", ")
      rows.append((name: "does not", value: "\(uses): \(fail.reason)"))
    }
    return renderPairs(rows)
  }
}
