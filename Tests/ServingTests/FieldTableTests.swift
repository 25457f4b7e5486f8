import Foundation
import Serving
import Storage
import Testing

/// What becomes of the fields of requests.
@Suite struct FieldTableTests {
  static let tables: [String: FieldTable] = [
    "/v1/chat/completions": .chat, "/v1/completions": .completion, "/v1/embeddings": .embedding,
    "/v1/responses": .responses, "/v1/messages": .messages,
  ]

  /// Names by route and by where they come from: `Tests/Interop/request_fields.json`.
  static let recorded: [(path: String, name: String)] = {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Interop/request_fields.json")
    guard case .object(let routes) = try! JSON(parsing: try! String(contentsOf: file, encoding: .utf8)) else {
      return []
    }
    return routes.filter { $0.key.hasPrefix("/") }.flatMap { route in
      guard case .object(let clients) = route.value else { return [(path: String, name: String)]() }
      return clients.flatMap { $0.value.arrayValue ?? [] }.map { (route.key, $0.stringValue!) }
    }
  }()

  @Test("every field that clients of OpenAI, Anthropic, vLLM and llama.cpp know is honoured, harmless or refused")
  func everyName() {
    #expect(Self.recorded.count > 300 && Set(Self.recorded.map(\.path)) == Set(Self.tables.keys))
    for (path, name) in Self.recorded { #expect(Self.tables[path]?.handlings[name] != nil, "\(path): \(name)") }
  }

  @Test("what is refused is refused by its name, unless it asks for nothing; what is harmless is not")
  func refusals() throws {
    for (path, table) in Self.tables {
      for (name, handling) in table.handlings {
        func read(_ value: JSON) -> APIError? {
          var members = [
            JSON.Member(
              "messages", .array([.object([.init("role", .string("user")), .init("content", .string("a"))])])),
            .init("prompt", .string("a")), .init(name, value),
          ]
          members.removeAll { $0.key == name && $0.value != value }
          let body = Array(JSON.object(members).compactText.utf8)
          do throws(APIError) {
            if path == "/v1/completions" {
              _ = try ServingSupport.completion(String(decoding: body, as: UTF8.self))
            } else {
              _ = try ServingSupport.chat(String(decoding: body, as: UTF8.self))
            }
            return nil
          } catch {
            return error
          }
        }
        guard ["/v1/chat/completions", "/v1/completions"].contains(path) else { continue }
        switch handling {
        case .honoured: break
        case .harmless(let reason):
          #expect(reason.hasSuffix(".") && read(.string("odd")) == nil, "\(path): \(name)")
        case .refused(let reason, let values):
          #expect(reason.hasSuffix(".") && read(.string("odd"))?.parameter == name, "\(path): \(name)")
          for value in values + [.null] { #expect(read(value) == nil, "\(path): \(name) \(value)") }
        }
      }
    }
  }
}
