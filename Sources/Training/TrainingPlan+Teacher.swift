import Corpus
import Model
import Storage

extension TrainingPlan {
  /// - Parameter stored: what the data have of a teacher, if anything; `teacher` is one in memory.
  /// - Throws: `TrainingError` when the run cannot learn from either.
  static func checkTeacher(
    _ stored: DataManifest.Teacher?, _ teacher: TeacherModel?, _ configuration: ModelConfiguration,
    _ settings: ResolvedSettings, _ dataset: TokenShardDataset
  ) throws(TrainingError) {
    if teacher != nil, let top = settings.recorded.teacherTop, top >= configuration.vocabularySize {
      throw TrainingError(
        "--teacher-top \(top) leaves out none of the \(configuration.vocabularySize) tokens. Leave it out, which is the "
          + "same.")
    }
    guard let stored else { return }
    let data = settings.data
    guard configuration.sight == nil else {
      throw TrainingError(
        "a model that sees does not learn from a teacher, as \(data) asks for. Give the data without.")
    }
    guard stored.vocabularySize == configuration.vocabularySize else {
      throw TrainingError(
        "the teacher of \(data) has \(stored.vocabularySize) tokens (vocab_size), the model "
          + "\(configuration.vocabularySize). A teacher must have the model's vocabulary: give a model of that, or make the "
          + "data again by another teacher.")
    }
    let longest = dataset.training.longestInput
    guard
      settings.sequenceLength == stored.sequenceLength
        || longest <= min(settings.sequenceLength, stored.sequenceLength)
    else {
      throw TrainingError(
        "the teacher of \(data) read sequences of \(stored.sequenceLength) tokens, and this run reads "
          + "\(settings.sequenceLength) of documents of up to \(longest). Give --sequence-length \(stored.sequenceLength), or "
          + "make the data again: minimind data teacher --sequence-length \(settings.sequenceLength)")
    }
  }

  /// Identifies what the run learns from, in memory or stored; nil for no teacher.
  var teacherHash: String? { teacher?.contentHash ?? dataset.manifest.teacher?.model }
}
