import Storage
import Testing

@Suite("Nearest names")
struct NearestNameTests {
  @Test(
    "edit distance counts a swap of neighbours once",
    arguments: [("", "abc", 3), ("trian", "train", 1), ("kitten", "sitting", 3)])
  func distance(first: String, second: String, expected: Int) {
    #expect(editDistance(first, second) == expected)
    #expect(editDistance(second, first) == expected)
  }
}
