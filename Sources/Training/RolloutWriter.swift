import Model
import Rewards

/// Writes answers with the weights in training. The program has one; training knows no engine that writes.
package protocol RolloutWriter: AnyObject {
  /// - Parameters:
  ///   - engine: whose weights, as they are now, write.
  ///   - progress: called now and then with the number of answers that have ended; what it throws ends the writing.
  /// - Returns: [requests]
  func write(
    _ requests: [AnswerRequest], with engine: any TrainingEngine, progress: (_ ended: Int) throws -> Void
  ) throws -> [AnswerTokens]
}

/// A prompt to answer, and how.
package struct AnswerRequest: Sendable, Equatable {
  package var prompt: [Int32]
  /// Of all answers, with what is inserted between them.
  package var maximumTokens: Int
  /// 0 takes the likeliest token always.
  package var temperature: Double
  /// 0 for all tokens.
  package var topK: Int
  package var topP: Double
  package var seed: UInt64
  /// What is run between answers; nil for one answer.
  package var tools: ToolSession?
}

/// The number type of the weights that write.
package enum WritingPrecision: String, SettingChoice {
  case float32 = "fp32"
  case bfloat16 = "bf16"
  /// Eight and four bits a weight.
  case q8, q4
}
