import Model
import ModelFiles
import Tokenization

/// The model that a run learns from, checked against the run's own model.
package struct TeacherModel: Sendable {
  /// As it was given.
  package let path: String
  package let configuration: ModelConfiguration
  /// `ModelWeights.contentHash(of:)`.
  let contentHash: String
  /// The most tokens that it is to read at once.
  let sequenceLength: Int
  private let directory: String

  /// - Parameters:
  ///   - path: a run, a checkpoint or a model directory, also of an adapter.
  ///   - student: what is trained; nil for nothing yet.
  ///   - tokenizerHash: of the student's tokenizer, or of the data's.
  ///   - sequenceLength: the most tokens that the models read at once; nil for the teacher's context, but no more than is usual.
  /// - Throws: `TrainingError` when its vocabulary or its tokenizer is another one, or its context too short.
  init(_ path: String, student: ModelConfiguration?, tokenizerHash: String, sequenceLength: Int?) throws {
    self.path = path
    directory = try resolveModelDirectory(path)
    configuration = try ModelConfiguration(modelDirectory: directory)
    try configuration.requireLogits(path)
    if let student, configuration.vocabularySize != student.vocabularySize {
      throw TrainingError(
        "--teacher \(path) has \(configuration.vocabularySize) tokens (vocab_size), the model \(student.vocabularySize). "
          + "A teacher must have the model's vocabulary: let it write answers instead (minimind generate --input), and "
          + "train on these.")
    }
    guard try Tokenizer(TokenizerFiles(directory)).contentHash == tokenizerHash else {
      throw TrainingError(
        "--teacher \(path) has another tokenizer than the \(student == nil ? "data" : "model"), so its probabilities are of other tokens. Let it write "
          + "answers instead (minimind generate --input), and train on these.")
    }
    let length = sequenceLength ?? min(ResolvedSettings.usualSequenceLength, configuration.contextLength)
    guard configuration.contextLength >= length else {
      throw TrainingError(
        "--teacher \(path) reads \(configuration.contextLength) tokens (\(configuration.contextSetting)), fewer than the "
          + "sequences of \(length). Lower --sequence-length.")
    }
    self.sequenceLength = length
    contentHash = try ModelWeights.contentHash(of: directory)
  }

  func parameters() throws -> Parameters { try Parameters(modelDirectory: directory) }
}
