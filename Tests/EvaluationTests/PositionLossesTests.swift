import CPUEngine
import Compute
import Evaluation
import Foundation
import Model
import TestSupport
import Testing

@Suite struct PositionLossesTests {
  static let length = 48

  static func windows(_ texts: [String]) -> PositionWindows {
    var windows = PositionWindows(PerplexityTests.tokenizer, length: length)
    for text in texts { try! Array(text.utf8).withUnsafeBytes { try windows.add($0) } }
    return windows
  }

  @Test("windows are consecutive pieces of one document; short documents and ends are counted")
  func cutting() throws {
    let tokenizer = PerplexityTests.tokenizer
    let text = (0..<60).map { "hello \($0) " }.joined()
    let windows = Self.windows([text, "short", ""])
    let document = tokenizer.beginTokens + (try tokenizer.encode(text)) + [tokenizer.endToken]
    #expect(windows.windows.count == (document.count - 1) / Self.length && windows.windows.count > 2)
    #expect(windows.windows.allSatisfy { $0.count == Self.length + 1 })
    for (index, window) in windows.windows.enumerated() {
      #expect(window == Array(document[index * Self.length...(index + 1) * Self.length]))
    }
    #expect(windows.longDocuments == 1 && windows.shortDocuments == 2)
    let short = try tokenizer.encode("short").count + 1 + 1
    #expect(windows.unusedTokens == (document.count - 1) % Self.length + short)
  }

  @Test(
    "the loss of a bucket is that of its tokens, by the definition",
    arguments: [RotaryScaling.none, .dynamic(factor: 3)])
  func definition(scaling: RotaryScaling) throws {
    let parameters = try PerplexityTests.parameters()
    let windows = Self.windows([(0..<60).map { "world \($0) " }.joined(), String(repeating: "你好，", count: 80)])
    let team = WorkerTeam(count: 2)
    let pass = try TrainingPass(
      parameters, precision: .float32, maximumTokens: Self.length, team: team, trains: false, rotaryScaling: scaling)
    let vocabulary = parameters.configuration.vocabularySize
    var expected = [Double](repeating: 0, count: Self.length)
    for window in windows.windows {
      let logits = pass.logits(Batch(prompts: [window.dropLast()]))
      for position in 0..<Self.length {
        let row = logits[position * vocabulary..<(position + 1) * vocabulary].map(Double.init)
        let target = row[Int(window[position + 1])]
        expected[position] += log(row.reduce(0) { $0 + exp($1 - target) }) / Double(windows.windows.count)
      }
    }
    var reported = 0
    let result = try PositionLosses(
      "x", parameters, windows, precision: .float32, rotaryScaling: scaling, engines: CPUEngineProvider(threads: 2)
    ) { reported = $0 }
    #expect(reported == windows.windows.count * Self.length)
    for (bucket, positions) in PositionLosses.buckets(length: Self.length).enumerated() {
      let mean = expected[positions].reduce(0, +) / Double(positions.count)
      #expect(abs(result.losses[bucket] - mean) < 1e-5 * mean)
    }
  }

  @Test("buckets cover all positions once, and the plot names every line and the trained length")
  func plot() throws {
    for length in [16, 17, 2048] {
      #expect(PositionLosses.buckets(length: length).flatMap(Array.init) == Array(0..<length))
    }
    let parameters = try PerplexityTests.parameters()
    let windows = Self.windows([String(repeating: "hello there ", count: 60)])
    let results = try ["none", "a < b"].map {
      try PositionLosses(
        $0, parameters, windows, precision: .float32, rotaryScaling: .none, engines: CPUEngineProvider(threads: 1))
    }
    let svg = PositionLosses.plot(results, title: "t", length: Self.length, trainedLength: 24).svg()
    for text in [">none<", ">a &lt; b<", ">trained length<", ">position<"] { #expect(svg.contains(text), "\(text)") }
    #expect(svg.components(separatedBy: "<circle").count == 33)
  }
}
