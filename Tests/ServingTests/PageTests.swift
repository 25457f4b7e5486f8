import Testing

import Serving

@Suite("Page")
struct PageTests {
  /// What stands in `attribute="…"` or `from "./…"` of a file.
  private func names(in text: String, _ pattern: Regex<(Substring, Substring)>) -> [String] {
    text.matches(of: pattern).map { String($0.output.1) }
  }

  @Test("every file that a page names is there, and puts no markup into it", arguments: [true, false])
  func namesExist(isChat: Bool) throws {
    var unread = ["/"]
    var seen: Set<String> = []
    while let path = unread.popLast() {
      guard seen.insert(path).inserted else { continue }
      let file = try #require(isChat ? Page.file(path) : WatchPage.file(path), "\(path)")
      let text = String(decoding: file.bytes, as: UTF8.self)
      #expect(!text.isEmpty && !text.contains("innerHTML") && !text.contains("insertAdjacentHTML"))
      let named = names(in: text, /(?:href|src)="([^"#]+)"/) + names(in: text, /from "\.\/([^"]+)"/)
      unread += named.map { "/" + $0 }
    }
    #expect(seen.count >= (isChat ? 13 : 9))
  }

  @Test(
    "paths that are none of the page have no file",
    arguments: ["", "index.html", "/../Page.swift", "/base.css/", "/v1"])
  func otherPaths(path: String) { #expect(Page.file(path) == nil) }
}
