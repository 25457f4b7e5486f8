import CPUEngine
import Model
import ModelFiles
import Storage

/// Answers of a test, as one batch, with the numbers that belong to them and to their tokens: JSON with "answers", of which each
/// has "prompt", "answer", and perhaps "masked".
struct AnswerCase {
  let json: JSON
  let answers: [JSON]
  var batch = Batch()

  init(_ path: String) throws {
    json = try JSON(contentsOf: path)
    answers = json["answers"]?.arrayValue ?? []
    for answer in answers {
      let prompt = Self.ids(answer["prompt"])
      let isMasked = answer["masked"]?.boolValue ?? false
      batch.append(document: prompt + Self.ids(answer["answer"])) { !isMasked && $0 >= prompt.count }
    }
  }

  func number(_ name: String) -> Double { json[name]?.doubleValue ?? 0 }

  static func floats(_ json: JSON?) -> [Float] { (json?.arrayValue ?? []).map { Float($0.doubleValue ?? 0) } }

  private static func ids(_ json: JSON?) -> [Int32] {
    (json?.arrayValue ?? []).compactMap { $0.integerValue.map { Int32($0) } }
  }

  /// Gives the tokens of all answers the numbers that are under a name in each answer; nothing where the first has none.
  mutating func setColumn(_ column: String, from name: String) {
    guard answers.first?[name] != nil else { return }
    var values = [Float](repeating: 0, count: batch.tokenCount)
    for (document, answer) in answers.enumerated() {
      let first = batch.rows(ofDocument: document).lowerBound + Self.ids(answer["prompt"]).count - 1
      for (offset, value) in Self.floats(answer[name]).enumerated() { values[first + offset] = value }
    }
    batch[TokenColumn(column)] = values
  }

  /// An engine that trains a model in fp32, and its table.
  func engine(_ model: String) throws -> (engine: any TrainingEngine, table: ParameterTable) {
    let parameters = try Parameters(modelDirectory: model)
    let engine = try CPUEngineProvider(threads: 2).makeEngine(
      .whole(parameters), EngineSettings(precision: .float32, maximumTokens: batch.tokenCount, optimizer: .adamW))
    return (engine, parameters.table)
  }
}
