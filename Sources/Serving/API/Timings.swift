import Machine
import Storage

/// How long the parts of an answer took, in llama.cpp's words.
struct Timings: Sendable {
  private let start = monotonicSeconds()
  private var promptEnd: Double?
  private var end: Double?
  private var usage = Usage()

  /// The first prompt has been read.
  mutating func promptIsRead() { promptEnd = promptEnd ?? monotonicSeconds() }

  /// The answer is complete.
  mutating func finish(_ usage: Usage) {
    end = monotonicSeconds()
    self.usage = usage
  }

  /// Seconds from the request until its first prompt was read, waiting for its turn included.
  private var promptSeconds: Double { (promptEnd ?? end ?? start) - start }
  /// Seconds from then to the end of the last choice.
  private var writingSeconds: Double { (end ?? start) - (promptEnd ?? end ?? start) }
  /// Seconds from the request to the end.
  var totalSeconds: Double { promptSeconds + writingSeconds }
  var promptNanoseconds: Int { Int(promptSeconds * 1e9) }
  var writingNanoseconds: Int { Int(writingSeconds * 1e9) }

  /// `timings` of llama.cpp's server. Tokens of all choices count, as in `usage`.
  var json: JSON {
    func members(_ name: String, _ count: Int, _ seconds: Double) -> [JSON.Member] {
      [
        .init(name + "_n", .integer(count)), .init(name + "_ms", .number(1000 * seconds)),
        .init(name + "_per_token_ms", .number(count > 0 ? 1000 * seconds / Double(count) : 0)),
        .init(name + "_per_second", .number(seconds > 0 ? Double(count) / seconds : 0)),
      ]
    }
    return .object(
      [.init("cache_n", .integer(usage.cached))] + members("prompt", usage.prompt - usage.cached, promptSeconds)
        + members("predicted", usage.completion, writingSeconds))
  }
}
