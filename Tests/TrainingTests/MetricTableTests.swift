import Foundation
import Storage
import TestSupport
import Testing
import Training

@Suite("Table of metrics")
struct MetricTableTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  private static let keys = Set(Metric.all.flatMap { metric in metric.sides.map(metric.key) })

  @Test("no name is in it twice, and each has a meaning")
  func names() {
    #expect(Self.keys.count == Metric.all.reduce(0) { $0 + $1.sides.count })
    #expect(Metric.all.allSatisfy { !$0.meaning.isEmpty })
  }

  @Test("all that stages write is in it, a mixture's and several processes' numbers included")
  func written() throws {
    try TinyRun.inFolder { tiny in
      var settings = tiny.settings()
      settings.model = tiny.mixtureConfiguration
      settings.steps = 2
      let (_, base) = try tiny.train(settings, output: "base")
      settings = tiny.settings(.dpo)
      settings.from = base
      settings.steps = 2
      let (_, aligned) = try tiny.train(settings, stage: .dpo, output: "aligned")
      settings.loss = .orpo
      let (_, odds) = try tiny.train(settings, stage: .dpo, output: "odds")
      settings = tiny.settings(.kto)
      settings.from = base
      settings.steps = 2
      let (_, judged) = try tiny.train(settings, stage: .kto, output: "judged")
      settings = tiny.settings()
      settings.steps = 1
      let (_, dense) = try tiny.train(settings, output: "dense")
      settings = tiny.settings(.reward)
      settings.from = dense
      settings.steps = 2
      let (_, scoring) = try tiny.train(settings, stage: .reward, output: "scoring")
      settings = tiny.settings(.sft)
      (settings.from, settings.teacher, settings.onPolicy) = (base, base, 1)
      (settings.answerTokens, settings.steps) = (8, 2)
      let (_, taught) = try tiny.train(settings, stage: .sft, output: "taught")
      settings = tiny.settings(.grpo)
      settings.from = base
      settings.steps = 2
      (settings.promptsPerStep, settings.answersPerPrompt, settings.answerTokens, settings.divergence) = (2, 2, 8, 0.1)
      let (_, learner) = try tiny.train(settings, stage: .grpo, output: "learner")
      settings = tiny.settings(.ppo)
      settings.from = base
      (settings.steps, settings.passes, settings.divergence) = (2, 1, 0.1)
      (settings.promptsPerStep, settings.answerTokens) = (4, 8)
      let (_, valued) = try tiny.train(settings, stage: .ppo, output: "valued")
      var found: Set<String> = []
      for path in [base, aligned, odds, judged, scoring, taught, learner, valued] {
        for line in try text(path + "/metrics.jsonl").split(separator: "\n") {
          guard case .object(let members) = try JSON(parsing: String(line)) else { continue }
          found.formUnion(members.map(\.key))
        }
      }
      // Of each reward by its name.
      found = found.filter { !$0.hasSuffix("/rewards/check/mean") }
      #expect(found.subtracting(Self.keys).isEmpty)
      // What one process does not write.
      let ofExchange = [Metric.processes, .exchangeBytes, .exchangeSeconds, .exchangeHiddenShare].map(\.key)
      #expect(Self.keys.subtracting(found).sorted() == ofExchange.sorted())
    }
  }

  @Test("nothing else in the program spells a name, so whatever is read is in the table")
  func read() throws {
    let files = FileManager.default.enumerator(atPath: Self.root + "/Sources")
    let names = try Regex(#"["'`](train|eval)/[a-z_/]+["'`]"#)
    var looked = 0
    for case let file as String in files ?? .init() {
      guard [".swift", ".js", ".py"].contains(where: file.hasSuffix), !file.hasSuffix("/Metric.swift") else { continue }
      let found = try text(Self.root + "/Sources/" + file).matches(of: names).map { String($0.0) }
      #expect(found.isEmpty, "\(file): \(found)")
      looked += 1
    }
    #expect(looked > 100)
  }

  @Test("docs/architecture.md has it as it is")
  func document() throws {
    let document = try text(Self.root + "/docs/architecture.md")
    let rows = document.split(separator: "\n").filter { $0.hasPrefix("| `train/") || $0.hasPrefix("| `eval/") }
    let expected = Metric.markdown.split(separator: "\n").dropFirst(2)
    #expect(rows == Array(expected))
  }

  @Test("lines of earlier versions are read under today's names")
  func earlierNames() throws {
    let line = try #require(Metric.line(#"{"train/global_step":3,"train/peak_memory_gb":0.25,"train/loss":1}"#))
    #expect(line["train/peak_memory_bytes"]?.doubleValue == 250_000_000 && line["train/peak_memory_gb"] == nil)
    #expect(line["train/loss"]?.doubleValue == 1)
    for text in ["", "{", "5", "[1]", #"{"train/loss":1}"#, #"{"train/global_step":"x"}"#] {
      #expect(Metric.line(text) == nil, "\(text)")
    }
  }
}
