import Generation
import Machine
import Synchronization

/// What the server counts and measures, for Prometheus.
final class ServingMetrics: Sendable {
  /// How often values up to each bound occurred.
  private struct Histogram {
    let bounds: [Double]
    var counts: [Int]
    var sum = 0.0

    init(_ bounds: [Double]) {
      self.bounds = bounds
      counts = Array(repeating: 0, count: bounds.count + 1)
    }

    mutating func observe(_ value: Double) {
      counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
      sum += value
    }

    func lines(_ name: String) -> String {
      var total = 0
      var text = ""
      for (index, count) in counts.enumerated() {
        total += count
        let bound = index < bounds.count ? "\(bounds[index])" : "+Inf"
        text += "\(name)_bucket{le=\"\(bound)\"} \(total)\n"
      }
      return text + "\(name)_sum \(sum)\n\(name)_count \(total)\n"
    }
  }

  private struct Series: Hashable {
    let route: String
    let status: Int
  }

  private struct State {
    var requests: [Series: Int] = [:]
    var firstToken = Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60])
    var tokenGap = Histogram([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5])
  }

  private let state = Mutex(State())

  /// - Parameter route: one of the server's own, never a path that a client made up.
  func countRequest(route: String, status: Int) {
    state.withLock { $0.requests[Series(route: route, status: status), default: 0] += 1 }
  }

  func observeFirstToken(_ seconds: Double) { state.withLock { $0.firstToken.observe(seconds) } }
  func observeTokenGap(_ seconds: Double) { state.withLock { $0.tokenGap.observe(seconds) } }

  /// All metrics, in Prometheus' text format 0.0.4.
  ///
  /// - Parameter sight: of a model that sees.
  func text(_ scheduler: SchedulerStatistics, _ sight: Sight.Statistics? = nil) -> String {
    var text = ""
    func add(_ name: String, _ type: String, _ help: String, _ lines: String) {
      text += "# HELP minimind_\(name) \(help)\n# TYPE minimind_\(name) \(type)\n\(lines)"
    }
    func add(_ name: String, _ type: String, _ help: String, _ value: Int) {
      add(name, type, help, "minimind_\(name) \(value)\n")
    }
    let state = state.withLock { $0 }
    let requests = state.requests.sorted { ($0.key.route, $0.key.status) < ($1.key.route, $1.key.status) }
    add(
      "requests_total", "counter", "Requests answered, by route and status.",
      requests.map { "minimind_requests_total{route=\"\($0.key.route)\",status=\"\($0.key.status)\"} \($0.value)\n" }
        .joined())
    add("prompt_tokens_total", "counter", "Tokens of prompts.", scheduler.totals.promptTokens)
    add(
      "cached_prompt_tokens_total", "counter", "Tokens of prompts that were not computed again.",
      scheduler.totals.cachedTokens)
    add("generated_tokens_total", "counter", "Tokens written.", scheduler.totals.generatedTokens)
    add("sequences_running", "gauge", "Sequences that are computed at the moment.", scheduler.running)
    add("sequences_waiting", "gauge", "Sequences in the queue.", scheduler.waiting)
    add(
      "cache_pages", "gauge", "Pages of the key/value cache: of running sequences, kept for prompts to come, free.",
      """
      minimind_cache_pages{state="used"} \(scheduler.usedPages)
      minimind_cache_pages{state="kept"} \(scheduler.keptPages)
      minimind_cache_pages{state="free"} \(scheduler.freePages)

      """)
    add(
      "time_to_first_token_seconds", "histogram", "From a request to the first token of an answer.",
      state.firstToken.lines("minimind_time_to_first_token_seconds"))
    add(
      "time_per_output_token_seconds", "histogram", "From one token of an answer to the next.",
      state.tokenGap.lines("minimind_time_per_output_token_seconds"))
    if let sight {
      add("pictures_encoded_total", "counter", "Pictures encoded; those that come again are not.", sight.pictures)
      add(
        "picture_seconds_total", "counter", "Seconds in which pictures were read and encoded.",
        "minimind_picture_seconds_total \(sight.seconds)\n")
    }
    add("resident_memory_bytes", "gauge", "Memory of the process at the moment.", MachineMemory.residentBytes)
    add("peak_memory_bytes", "gauge", "The most memory that the process has had.", MachineMemory.peakBytes)
    return text
  }
}
