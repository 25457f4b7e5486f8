import Serving
import Testing

@Suite struct AccessPolicyTests {
  static func request(_ headers: [String: String], method: String = "GET") -> HTTPRequest {
    HTTPRequest(method: method, path: "/", headers: headers)
  }

  @Test(
    "the server is known by addresses and by the names that it was given",
    arguments: [
      ("127.0.0.1:8080", true), ("localhost", true), ("LocalHost:80", true), ("[::1]:8080", true),
      ("192.168.0.7", true), ("box.local:1", true), ("evil.example", false), ("127.0.0.1.evil.example", false),
      ("localhost.evil.example:8080", false), ("", false), ("[evil.example]", false), ("1.2.3", false),
    ])
  func hosts(host: String, isKnown: Bool) {
    let policy = AccessPolicy(hostNames: ["Box.local"])
    #expect((policy.refusal(of: Self.request(["host": host])) == nil) == isKnown)
    #expect(policy.refusal(of: Self.request([:]))?.status == 403)
  }

  @Test("a page elsewhere may use the server only when it was allowed")
  func origins() {
    func isAllowed(_ origin: String, _ origins: [String]) -> Bool {
      let request = Self.request(["host": "localhost:8080", "origin": origin])
      let policy = AccessPolicy(origins: origins)
      #expect(policy.crossOriginHeaders(request).isEmpty == !(origins.contains(origin) || origins.contains("*")))
      return policy.refusal(of: request) == nil
    }
    #expect(isAllowed("http://localhost:8080", []))
    #expect(!isAllowed("http://localhost:9090", []))
    #expect(!isAllowed("null", []))
    #expect(isAllowed("https://a.example", ["https://a.example"]))
    #expect(!isAllowed("https://a.example.evil", ["https://a.example"]))
    #expect(isAllowed("null", ["*"]))
    let preflight = Self.request(
      ["host": "localhost", "origin": "https://a", "access-control-request-headers": "x-stainless-os"],
      method: "OPTIONS")
    let headers = AccessPolicy(origins: ["https://a"]).crossOriginHeaders(preflight)
    #expect(headers.contains { $0.name == "Access-Control-Allow-Headers" && $0.value == "x-stainless-os" })
    #expect(headers.contains { $0.name == "Access-Control-Allow-Origin" && $0.value == "https://a" })
    #expect(!headers.contains { $0.name == "Access-Control-Allow-Credentials" })
  }

  @Test("the key, the whole key and nothing but the key")
  func keys() {
    let policy = AccessPolicy(key: "secret")
    func opens(_ header: String?) -> Bool { policy.hasKey(Self.request(header.map { ["authorization": $0] } ?? [:])) }
    #expect(opens("Bearer secret") && opens("bearer secret"))
    for wrong in [nil, "", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"] {
      #expect(!opens(wrong))
    }
    // Where Anthropic's and Azure's clients put it.
    for name in ["x-api-key", "api-key"] {
      #expect(policy.hasKey(Self.request([name: "secret"])) && !policy.hasKey(Self.request([name: "secrets"])))
      #expect(policy.hasKey(Self.request([name: "secret", "authorization": "Bearer other"])))
      #expect(!policy.hasKey(Self.request([name: ""])))
    }
    #expect(!policy.hasKey(Self.request(["cookie": "secret"])))
    #expect(AccessPolicy().hasKey(Self.request([:])) && AccessPolicy().hasKey(Self.request(["authorization": "x"])))
  }
}
