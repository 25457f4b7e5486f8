import Foundation
import Model
import Tokenization

/// A format of model files, as `convert` and `info` use it. One folder holds its bytes, names, shapes and settings, and
/// one line of `ModelFormats.all` registers it.
package protocol ModelFormat: Sendable {
  /// The value of `--format`.
  var name: String { get }
  /// What docs/formats.md calls it.
  var title: String { get }
  /// How the name of such a file ends, with the dot; nil for a directory.
  var ending: String? { get }
  /// Whether `read` is supported.
  var isRead: Bool { get }
  /// The encodings in which `write` can store weights, the default first; empty if `convert` does not write the format.
  var encodings: [WeightEncoding] { get }
  var tokenizer: TokenizerPlace { get }
  /// Whether it holds an adapter alone, without the model that it is for.
  var holdsAdapter: Bool { get }
  /// Whether its weights can be cut into several files.
  var hasShards: Bool { get }
  /// Whether the files leave out how many query heads there are, the rotary base, how many experts a token passes, and
  /// the tower of a model that sees.
  var lacksHeadCounts: Bool { get }

  /// Whether the file or directory at a path is of this format.
  func isFormat(ofPath path: String) -> Bool
  /// Refuses a model that the format cannot express.
  ///
  /// - Parameters:
  ///   - tokenizer: the model's, and the directory or file that it was read from; nil for none.
  ///   - holdsAdapter: whether the model was read as a base with an adapter.
  ///   - path: what the message begins with.
  /// - Throws: `ModelFileError`; of the tokenizer what `GGUFTokenizer` throws.
  func check(
    _ configuration: ModelConfiguration, tokenizer: (read: Tokenizer, path: String)?, holdsAdapter: Bool, path: String
  ) throws
  /// Whether a weight is stored in the requested encoding, rather than always in fp32.
  func encodes(_ entry: ParameterEntry) -> Bool
  /// What a report should say of weights that the format or an encoding has no place for, and that are left out or stored
  /// otherwise; nil for none.
  func note(on model: StoredParameters, _ encoding: WeightEncoding) -> String?
  /// The files that writing a model to `path` makes, with what a report calls each.
  func files(writtenTo path: String, _ configuration: ModelConfiguration) -> [(name: String, path: String)]

  /// The model in a file that commands read directly; nil for a format whose files are converted first.
  ///
  /// - Throws: `FileError` or `ModelFileError` for a file that is damaged.
  func container(_ path: String) throws -> (any ModelContainer)?
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each saying which file and what is wrong.
  func read(_ path: String, _ missing: MissingSettings) throws -> StoredParameters
  /// Writes the model; what appears at `path` appears whole or not at all.
  ///
  /// - Throws: `ModelFileError` when the format cannot express the model, or a weight does not fit into the encoding;
  ///   `FileError`.
  func write(_ model: StoredParameters, to path: String, _ settings: WriteSettings) throws
}

/// Where a format keeps a model's tokenizer.
package enum TokenizerPlace: Sendable {
  /// The format has no place for one.
  case none
  /// In files beside the weights, if the model has one.
  case beside
  /// In the file itself, which is not complete without it.
  case inside
}

/// What the caller knows of a model and its files do not say; nil is what the version of MiniMind has that the files' names
/// show. Some later files have v1's names.
package struct MissingSettings: Sendable, Equatable {
  /// Query heads.
  package var headCount: Int?
  /// Experts that each token is routed to, in a mixture of experts.
  package var expertsPerToken: Int?
  /// The base of the rotary embedding.
  package var ropeTheta: Double?
  /// The directory of a tower, of a model that sees; its files have none.
  package var towerDirectory: String?

  package init(
    headCount: Int? = nil, expertsPerToken: Int? = nil, ropeTheta: Double? = nil, towerDirectory: String? = nil
  ) {
    self.headCount = headCount
    self.expertsPerToken = expertsPerToken
    self.ropeTheta = ropeTheta
    self.towerDirectory = towerDirectory
  }
}

/// How a model is to be written.
package struct WriteSettings: Sendable {
  package var encoding: WeightEncoding
  /// Where the tokenizer's files are; nil for none.
  package var tokenizerDirectory: String?
  /// The most bytes of weights in one file; one file when nil.
  package var shardByteCount: Int?

  package init(encoding: WeightEncoding, tokenizerDirectory: String?, shardByteCount: Int? = nil) {
    self.encoding = encoding
    self.tokenizerDirectory = tokenizerDirectory
    self.shardByteCount = shardByteCount
  }
}

/// A model with what its files say beyond its weights.
package struct StoredParameters {
  package let parameters: Parameters
  /// [table.entries] how each weight is stored; fp32 for all where an adapter is merged, since the sums need all bits.
  package let types: [TensorType?]
  /// The directory or file of its settings, for an adapter that of its base; nil for a format without settings.
  package var settingsDirectory: String?
  /// Where its tokenizer is, if it has one.
  package var tokenizerDirectory: String?
  /// The directory of the adapter that is merged into its weights; nil for a model.
  package var adapterDirectory: String?
  /// The metadata that record the adapters merged into its weights.
  package var metadata: [String: String] = [:]
  /// Whether settings that the files leave open have been assumed.
  package var isAssumed = false
  /// Settings that the files leave open and how they were chosen, for a report.
  package var notes: [(name: String, value: String)] = []

  package init(_ parameters: Parameters, types: [TensorType?]) {
    self.parameters = parameters
    self.types = types
  }
}

package enum ModelFormats {
  /// In the order in which they are listed, and in which they are tried on a path.
  package static let all: [any ModelFormat] = [
    HuggingFaceFormat(), MiniMindLoRAFormat(), MiniMindFormat(), GGUFFormat(), PEFTFormat(),
  ]

  /// Those that `convert` writes.
  package static var written: [any ModelFormat] { all.filter { !$0.encodings.isEmpty } }

  /// The format of what is to be written to a path, by the ending of its name.
  package static func format(forWriting path: String) -> any ModelFormat {
    written.first { $0.ending.map(path.hasSuffix) ?? false } ?? all[0]
  }

  /// The format of what is at a path.
  package static func format(of path: String) -> any ModelFormat {
    all.first { $0.isFormat(ofPath: path) } ?? all[0]
  }
}

extension ModelConfiguration {
  /// Refuses a reward model, for formats of models that write.
  func refuseScores(path: String) throws(ModelFileError) {
    guard !scoresTexts else {
      throw .unsupported(path: path, feature: "a reward model scores answers and writes none; choose --format hf")
    }
  }
}

extension ModelFormat {
  package var isRead: Bool { true }
  package var holdsAdapter: Bool { false }
  package var hasShards: Bool { false }
  package var lacksHeadCounts: Bool { false }

  package func check(
    _ configuration: ModelConfiguration, tokenizer: (read: Tokenizer, path: String)?, holdsAdapter: Bool, path: String
  ) throws {}

  package func files(
    writtenTo path: String, _ configuration: ModelConfiguration
  ) -> [(name: String, path: String)] { [("written", path)] }
  package func container(_ path: String) throws -> (any ModelContainer)? { nil }
  package func note(on model: StoredParameters, _ encoding: WeightEncoding) -> String? { nil }

  /// The encoding that loses nothing of a model: the common one of all weights that the format stores in the requested
  /// encoding.
  package func exactEncoding(of model: StoredParameters) -> WeightEncoding {
    let stored = zip(model.parameters.table.entries, model.types).filter { encodes($0.0) }
    let kinds = Set(stored.map(\.1))
    return WeightEncoding(keeping: kinds.count == 1 ? kinds.first! : nil)
  }

  /// Whether there is a file, no directory, at a path.
  func isFile(_ path: String) -> Bool {
    var isDirectory: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && !isDirectory.boolValue
  }
}
