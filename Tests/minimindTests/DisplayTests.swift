import Storage
import Testing
import minimind

@Suite("Text for people")
struct DisplayTests {
  @Test(
    "counts keep three or four digits that matter",
    arguments: [
      (0, "0"), (812, "812"), (1234, "1.23 k"), (999_999, "1.00 M"), (26_878_464, "26.88 M"), (123_456_789, "123.5 M"),
    ])
  func counts(count: Int, text: String) { #expect(formatCount(count) == text) }

  @Test(
    "bytes",
    arguments: [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (5 << 30, "5.00 GiB"), (300 << 20, "300.0 MiB")])
  func bytes(count: Int, text: String) { #expect(formatBytes(count) == text) }

  @Test(
    "durations",
    arguments: [
      (0.42, "0.42s"), (8.31, "8.3s"), (59.97, "1m00s"), (245, "4m05s"), (7620, "2h07m"), (270_000, "3d03h"), (-1, "?"),
      (.infinity, "?"),
    ])
  func durations(seconds: Double, text: String) { #expect(formatDuration(seconds) == text) }

  @Test("numbers", arguments: [(1, "1"), (0.1, "0.1"), (0.0002, "0.0002"), (1e-5, "1e-05")])
  func numbers(number: Double, text: String) { #expect(formatNumber(number) == text) }

  @Test(
    "wide characters take two columns, marks none",
    arguments: [("abc", 3), ("世界", 4), ("かな", 4), ("e\u{301}", 1), ("🙂", 2), ("한국", 4)])
  func widths(text: String, width: Int) { #expect(displayWidth(text) == width) }

  @Test("a table aligns mixed scripts")
  func table() {
    var table = TextTable([("subject", .left), ("right", .right)])
    table.add(["世界史", "12"])
    table.add(["law", "3"])
    #expect(
      table.render() == """
        subject  right
        ───────  ─────
        世界史      12
        law          3

        """)
  }

  @Test("a progress line tells share, rate and the time left")
  func progress() {
    #expect(
      progressText(
        title: "reading", completed: 250, total: 1000, unit: .things("documents"), seconds: 10, detail: "", barWidth: 0)
        == "reading   25%  250 of 1.00 k documents  25/s  30.0s left")
    #expect(
      progressText(
        title: "reading", completed: 2048, total: nil, unit: .bytes, seconds: 1, detail: "a.txt", barWidth: 0)
        == "reading  2.00 KiB  2.00 KiB/s  a.txt")
  }

  @Test("a bar fills in eighths of a column")
  func bar() {
    #expect(progressBar(share: 0, width: 4) == "│    │")
    #expect(progressBar(share: 0.54, width: 4) == "│██▏ │")
    #expect(progressBar(share: 1, width: 4) == "│████│")
  }

  @Test("text is cut between characters")
  func cut() { #expect(truncated("a世界", to: 4) == "a世") }
}
