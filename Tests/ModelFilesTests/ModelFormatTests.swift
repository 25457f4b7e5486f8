import Foundation
import Model
import ModelFiles
import TestSupport
import Testing

@Suite("Model formats")
struct ModelFormatTests {
  @Test("docs/formats.md has a row for each format, with what it reads, writes and stores")
  func documents() throws {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "../../docs/formats.md")
    let rows = try String(contentsOf: path, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("| ") }
      .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
    for format in ModelFormats.all {
      let row = try #require(rows.first { $0[0] == format.title }, "no row for \(format.title)")
      #expect((row[1] == "no") == !format.isRead, "\(format.title)")
      if format.encodings.isEmpty { continue }
      #expect(row[2] != "no", "\(format.title)")
      #expect(
        Set(row[3].split(separator: ", ").map(String.init)) == Set(format.encodings.map(\.rawValue)), "\(format.title)")
    }
  }

  @Test("names are distinct, and the ending of a path chooses the format")
  func choice() {
    #expect(Set(ModelFormats.all.map(\.name)).count == ModelFormats.all.count)
    for (path, name) in [("a/b.pth", "pth"), ("b.gguf", "gguf"), ("model", "hf"), ("model.safetensors", "hf")] {
      #expect(ModelFormats.format(forWriting: path).name == name)
    }
  }

  @Test("what is at a path is read as what it is; what cannot be read is refused by name")
  func reading() throws {
    try withTemporaryDirectory { directory in
      var shape = ModelConfiguration(
        hiddenSize: 16, layerCount: 1, headCount: 2, keyValueHeadCount: 1, vocabularySize: 40)
      shape.endTokenIDs = []
      let parameters = try Parameters(configuration: shape, seed: 1)
      for name in ["hf", "pth"] {
        let format = try #require(ModelFormats.written.first { $0.name == name })
        let path = directory + "/model-\(name)"
        let settings = WriteSettings(encoding: .float32, tokenizerDirectory: nil)
        try format.write(StoredParameters(parameters, types: []), to: path, settings)
        let found = ModelFormats.format(of: path)
        #expect(found.name == name)
        var missing = MissingSettings()
        missing.headCount = 2
        let read = try found.read(path, missing)
        #expect(read.parameters.allValues == parameters.allValues)
        #expect(found.exactEncoding(of: read) == .float32)
      }
      let file = directory + "/model.gguf"
      try "GGUF".write(toFile: file, atomically: true, encoding: .utf8)
      let format = ModelFormats.format(of: file)
      #expect(format.name == "gguf")
      let error = #expect(throws: ModelFileError.self) { try format.read(file, MissingSettings()) }
      #expect(error?.description.contains("at byte 4 there should be 4 bytes more, and 0 are left") == true)
    }
  }
}
