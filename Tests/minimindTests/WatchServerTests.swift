import Foundation
import Serving
import Storage
import TestSupport
import Testing
import minimind

@Suite struct WatchServerTests {
  private func send(
    _ path: String, to server: WatchServer, method: String = "GET", host: String = "localhost:8090"
  ) -> RecordedResponse {
    let response = RecordedResponse()
    server.handle(.success(HTTPRequest(method: method, path: path, headers: ["host": host])), response)
    return response
  }

  @Test("runs are listed, and their files come in pieces from where the page asks")
  func runs() throws {
    let directory = FileManager.default.temporaryDirectory.path + "/minimind-watch-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let lines = (1...3).map { #"{"train/global_step":\#($0)}"# + "\n" }
    try Data((lines.joined() + #"{"train/gl"#).utf8).write(to: URL(fileURLWithPath: directory + "/metrics.jsonl"))
    try Data("=== step 1\nhello\n".utf8).write(to: URL(fileURLWithPath: directory + "/samples.txt"))
    let server = WatchServer(runs: [directory], policy: AccessPolicy(isAdjustable: false))

    let listed = try send("/runs", to: server).json()
    #expect(listed.arrayValue?.count == 1 && listed.arrayValue?[0]["name"]?.stringValue == directory)
    let whole = try send("/runs/0/metrics/0/0", to: server).json()
    #expect(whole["lines"]?.arrayValue?.count == 3 && whole["end"]?.integerValue == lines.joined().utf8.count)
    let file = try #require(whole["file"]?.stringValue)
    let rest = try send("/runs/0/metrics/\(file)/\(lines[0].utf8.count)", to: server).json()
    #expect(rest["lines"]?.arrayValue?.count == 2 && rest["start"]?.integerValue == lines[0].utf8.count)
    #expect(try send("/runs/0/samples", to: server).json()["text"]?.stringValue == "=== step 1\nhello\n")
    #expect(send("/metrics", to: server).whole.status == 200)
    let page = send("/", to: server).whole
    #expect(page.status == 200 && page.values("Content-Security-Policy").count == 1)
  }

  @Test("nothing but the runs is given, and only to the address that was printed")
  func refusals() throws {
    let server = WatchServer(runs: ["/nowhere"], policy: AccessPolicy(isAdjustable: false))
    let paths = [
      "/runs/1/samples", "/runs/-1/samples", "/runs/0/metrics/0/-5", "/runs/0/metrics/x/0", "/runs/../samples",
      "/runs/0/training.json", "/../etc/passwd", "/runs/0", "/v1/models",
    ]
    for path in paths { #expect(send(path, to: server).whole.status == 404, "\(path)") }
    #expect(send("/runs", to: server, method: "POST").whole.status == 405)
    let elsewhere = send("/runs", to: server, host: "evil.example")
    #expect(elsewhere.whole.status == 403)
    #expect(try elsewhere.json()["error"]?["message"]?.stringValue?.contains("--allowed-host") == false)
    #expect(try send("/runs/0/samples", to: server).json()["text"] == .string(""))
    #expect(try send("/runs/0/metrics/0/0", to: server).json()["lines"] == .array([]))
  }
}
