import Foundation
import Storage

/// What a data directory holds and how it was made: `manifest.json` beside the shards.
package struct DataManifest: Codable, Equatable, Sendable {
  package enum Kind: String, Codable, Sendable {
    case pretrain, sft
    /// Pairs of documents: the chosen answer to a prompt, then the rejected one.
    case dpo
    /// Answers, each with the label desirable or undesirable.
    case kto
    /// Prompts, and beside them the tasks whose checks say what an answer is worth.
    case grpo

    /// Whether shards say which tokens are trained on; otherwise all are, unless there are pictures.
    var hasLossMask: Bool { self != .pretrain }

    /// Whether shards have a label for each document.
    var hasLabels: Bool { self == .kto }

    /// Whether a document that is longer than a sequence is read in chunks; answers that people compared are not.
    package var canBeCut: Bool { self == .pretrain || self == .sft }

    /// Documents that belong together and go into the same batch.
    package var documentsPerSample: Int { self == .dpo ? 2 : 1 }
  }

  package struct Input: Codable, Equatable, Sendable {
    package var path: String
    package var bytes: Int
    package var format: InputFormat
    /// Nil for UTF-8.
    package var encoding: String?
  }

  /// Totals of one side of the split.
  package struct Totals: Codable, Equatable, Sendable {
    package var documents = 0
    package var tokens = 0
    /// Tokens that are trained on as targets.
    package var trainedTokens = 0
    /// UTF-8 bytes and Unicode characters of the text.
    package var textBytes = 0
    package var characters = 0
    /// Tokens of the longest document.
    package var longestDocument = 0

    package init() {}

    mutating func add(_ document: EncodedBlock.Document, tokens: Int, trainedTokens: Int) {
      documents += 1
      self.tokens += tokens
      self.trainedTokens += trainedTokens
      textBytes += document.textBytes
      characters += document.characters
      longestDocument = max(longestDocument, tokens)
    }
  }

  package struct Shard: Codable, Equatable, Sendable {
    package var file: String
    package var documents: Int
    package var tokens: Int
    package var isHeldOut: Bool
  }

  /// A field of kept rows that nothing reads.
  package struct UnusedField: Codable, Equatable, Sendable {
    package var name: String
    package var rows: Int
    /// `file:line: ` and the beginning of its value in the first such row.
    package var example: String
  }

  package static let currentFormat = 1
  /// Of data with what a teacher said, which an earlier version of this program would pass over in silence.
  private static let formatWithTeacher = 2

  package var format = DataManifest.currentFormat
  package var programVersion: String
  package var kind: Kind
  package var tokenizerHash: String
  package var vocabularySize: Int
  package var seed: Int
  package var heldOutFraction: Double
  package var inputs: [Input]
  /// The filters in force, by the names of their flags.
  package var filters: [String: String]
  package var rowsRead = 0
  package var rowsKept = 0
  /// Rows that could not be read.
  package var rowsBroken = 0
  /// The first of the broken rows, as `file:line: reason`.
  package var brokenRows: [String] = []
  /// Rows that a filter dropped, by `DropReason`.
  package var rowsDropped: [String: Int] = [:]
  /// Rows that were made to fit, by `RowChange`.
  package var rowsChanged: [String: Int] = [:]
  /// The commonest of the fields that nothing reads; nil in the manifests of earlier versions.
  package var unusedFields: [UnusedField]?
  /// SHA-256 of the files of tasks, for training and held out; nil in data of other kinds.
  package var tasks: [String]?
  /// Nil in data without pictures.
  package var pictures: Pictures?
  /// Nil in data without what a teacher said. Set by `add`.
  package private(set) var teacher: Teacher?
  package var training = Totals()
  package var heldOut = Totals()
  package var shards: [Shard] = []

  /// Makes the held-out documents the training documents: where there are only a few, all may have been held out.
  mutating func trainOnHeldOut() {
    training = heldOut
    heldOut = Totals()
    for index in shards.indices { shards[index].isHeldOut = false }
  }

  package mutating func add(_ teacher: Teacher) {
    self.teacher = teacher
    format = Self.formatWithTeacher
  }

  private static let maximumBytes = 1 << 26
  static let fileName = "manifest.json"

  package func write(to directory: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try AtomicFile.write(Array(try encoder.encode(self)) + [.newline], to: directory + "/" + Self.fileName)
  }

  /// - Throws: `FileError` when there is none, `CorpusError` when it cannot be understood.
  package init(directory: String) throws {
    let path = directory + "/" + Self.fileName
    var status = stat()
    if stat(directory, &status) == 0, stat(path, &status) != 0, errno == ENOENT {
      throw CorpusError(
        "\(directory) is no prepared data (it holds no manifest.json). "
          + "Make it with: minimind data pretrain, data sft, data dpo or data grpo."
      )
    }
    let file = try MappedFile(path)
    guard file.bytes.count <= Self.maximumBytes else {
      throw CorpusError("\(path) has \(file.bytes.count) bytes, far too many for a manifest. Prepare the data again.")
    }
    struct Format: Decodable { var format: Int }
    let decoder = JSONDecoder()
    let data = Data(file.bytes)
    guard let format = try? decoder.decode(Format.self, from: data).format else {
      throw CorpusError("\(path): this is not a manifest of prepared data. Prepare the data again.")
    }
    guard [Self.currentFormat, Self.formatWithTeacher].contains(format) else {
      throw CorpusError("\(path): format \(format) is not known, this program reads format \(Self.currentFormat).")
    }
    do { self = try decoder.decode(DataManifest.self, from: data) } catch {
      throw CorpusError("\(path): the manifest is damaged. Prepare the data again.")
    }
    guard (teacher != nil) == (format == Self.formatWithTeacher) else {
      throw CorpusError("\(path): the manifest contradicts itself about a teacher. Prepare the data again.")
    }
  }

  package init(
    programVersion: String, kind: Kind, tokenizerHash: String, vocabularySize: Int, seed: Int, heldOutFraction: Double,
    inputs: [Input], filters: [String: String]
  ) {
    self.programVersion = programVersion
    self.kind = kind
    self.tokenizerHash = tokenizerHash
    self.vocabularySize = vocabularySize
    self.seed = seed
    self.heldOutFraction = heldOutFraction
    self.inputs = inputs
    self.filters = filters
  }
}
