import Storage
import Testing

@Suite struct DirectoriesTests {
  @Test(
    "the parent of a path",
    arguments: [
      ("x", "."), ("model", "."), ("model/", "."), ("a/b", "a"), ("a/b/", "a"), ("a//", "."), ("./x", "."), ("/x", "/"),
      ("/", "/"), ("//", "/"), ("/a/b.c", "/a"), ("", "."), ("..", "."), ("é/b", "é"),
    ])
  func parent(path: String, expected: String) { #expect(parentDirectory(of: path) == expected) }
}
