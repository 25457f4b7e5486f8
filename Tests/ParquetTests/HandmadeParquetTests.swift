import Foundation
import Parquet
import Testing

/// What no writer makes: files whose descriptions lie, and kinds that are not read.
@Suite("Handmade Parquet files")
struct HandmadeParquetTests {
  private func message(_ change: (inout HandmadeParquet) -> Void) -> String {
    var file = HandmadeParquet()
    change(&file)
    do {
      return "read: " + (try rows(file.bytes)).joined()
    } catch {
      return "\(error)"
    }
  }

  @Test("a column of numbers, with and without a sign") func numbers() throws {
    #expect(try rows(HandmadeParquet().bytes) == ["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":-1}\n"])
    let unsigned: [ThriftValue] = [
      HandmadeParquet.field("n", type: 1, converted: 13),
      HandmadeParquet.field(
        "n", type: 1, logical: .structure([(10, .structure([(1, .int(32)), (2, .bool(false))]))])),
    ]
    for field in unsigned { #expect(message { $0.fields = [field] }.hasSuffix("{\"n\":4294967295}\n")) }
  }

  @Test(
    "codecs and encodings that are not read are refused by name",
    arguments: [(3, "LZO"), (4, "Brotli"), (5, "LZ4"), (7, "LZ4"), (99, "a way of number 99")])
  func codecs(code: Int, name: String) {
    #expect(message { $0.codec = code }.hasPrefix("has columns that are compressed by \(name), which is not read."))
  }

  @Test("encodings that are not read are refused by name")
  func encodings() {
    for (code, name) in [(5, "DELTA_BINARY_PACKED"), (9, "BYTE_STREAM_SPLIT"), (77, "number 77")] {
      #expect(
        message { $0.page = HandmadeParquet.page(values: 3, encoding: code, content: []) }
          .hasPrefix("has values of \"n\" written as \(name), which is not read."))
    }
    #expect(
      message { $0.page = HandmadeParquet.page(values: 3, encoding: 8, content: [0]) }.contains("lacks its dictionary"))
  }

  @Test("a schema that is too deep, too large or no tree is refused") func schemas() {
    func nested(_ depth: Int) -> [ThriftValue] {
      (0..<depth).map { HandmadeParquet.field("g\($0)", children: 1) } + [HandmadeParquet.field("n", type: 1)]
    }
    func change(_ depth: Int) -> (inout HandmadeParquet) -> Void {
      return { file in
        (file.fields, file.rootChildren) = (nested(depth), 1)
        file.path = (0..<depth).map { "g\($0)" } + ["n"]
      }
    }
    #expect(message(change(2)).hasPrefix("read: {\"g0\":{\"g1\":{\"n\":1}}}\n"))
    #expect(message(change(24)).contains("a schema of more than 24 levels"))
    #expect(message(change(3000)).contains("a schema of more than 24 levels"))
    #expect(message { $0.rootChildren = 2 }.contains("its schema ends too early"))
    #expect(message { $0.rootChildren = 1 << 40 }.contains("its schema ends too early"))
    #expect(
      message { $0.fields = [HandmadeParquet.field("g", children: 1 << 40)] }.contains("its schema ends too early"))
    #expect(
      message { $0.fields = (0..<5000).map { HandmadeParquet.field("n\($0)", type: 1) } }
        .contains("5001 fields, more than 4096"))
    let name = String(repeating: "n", count: 2000)
    #expect(message { $0.fields = [HandmadeParquet.field(name, type: 1)] }.contains("a name of 2000 bytes"))
    #expect(message { $0.fields = [HandmadeParquet.field("n", type: 9)] }.contains("has no type that there is"))
    #expect(message { $0.fields = [HandmadeParquet.field("n", type: 1, repetition: 3)] }.contains("neither required"))
    #expect(message { $0.path = ["m"] }.contains("has another column in place of \"n\""))
  }

  @Test("sizes and numbers that are not true are refused, whatever they are") func sizes() {
    let (empty, all) = ([UInt8](), [UInt8](repeating: 0x77, count: 64))
    for content in [empty, all] {
      #expect(
        message { file in
          file.codec = 2
          file.page = HandmadeParquet.page(values: 3, content: content, says: 1 << 40)
        }.contains("pages that take more than 1024 MiB together"))
    }
    for codec in [1, 2, 6] {
      #expect(
        message { file in
          file.codec = codec
          file.page = HandmadeParquet.page(values: 3, content: all, says: 12)
        }.contains("cannot be decompressed"))
    }
    for count in [-1, Int.min, 1 << 40, Int.max] {
      #expect(!message { $0.page = HandmadeParquet.page(values: count, content: all) }.hasPrefix("read"), "\(count)")
      #expect(!message { $0.page = HandmadeParquet.page(values: 3, content: all, says: count) }.hasPrefix("read"))
      #expect(!message { $0.chunkBytes = count }.hasPrefix("read"))
      #expect(!message { $0.offset = count }.hasPrefix("read"))
      #expect(!message { $0.chunkRows = count }.hasPrefix("read"))
      #expect(!message { $0.groupRows = count }.hasPrefix("read"))
      #expect(!message { $0.fileRows = count }.hasPrefix("read"))
    }
    #expect(message { $0.groupRows = 2 }.contains("has columns with more rows than it says"))
    #expect(message { $0.groupRows = 4 }.contains("has fewer rows than it says"))
    #expect(message { $0.fileRows = 4 }.contains("it has 3 rows and says that there are 4"))
    for count in [0, 1, 1 << 20, UInt32.max] as [UInt32] {
      #expect(message { $0.footerBytes = count }.contains("damaged"), "\(count)")
    }
    // Lists that would be as long as the file has bytes, and structures in structures without an end.
    for byte in [0xFC, 0x19, 0x29, 0x1C, 0xFF, 0x00] as [UInt8] {
      #expect(!message { $0.footer = [UInt8](repeating: byte, count: 1 << 16) }.hasPrefix("read"), "\(byte)")
    }
    let zeros = [0x19 + 0x10, 0xFC] + variable(1 << 20) + [UInt8](repeating: 0, count: 1 << 20)
    #expect(message { $0.footer = zeros }.contains("1048576 fields, more than 4096"))
  }

  @Test("a row of very many elements in a few bytes is refused before it takes memory") func longRow() {
    let count = 1 << 30
    let text = message { file in
      file.fields = [HandmadeParquet.field("n", type: 1, repetition: 2)]
      (file.chunkRows, file.groupRows, file.fileRows) = (count + 1, 1, 1)
      file.page = HandmadeParquet.page(
        values: count + 1, repetitions: variable(2) + [0] + variable(UInt64(count) << 1) + [1],
        definitions: variable(UInt64(count + 1) << 1) + [0])
    }
    #expect(text.contains("a row of more than 128 MiB in \"n\""), "\(text)")
  }
}
