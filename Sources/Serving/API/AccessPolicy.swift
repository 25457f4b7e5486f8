import Storage

/// Who may use the server: checks a request's key, the name by which it calls the server, and the page from which it
/// comes.
package struct AccessPolicy: Sendable {
  /// SHA-256 of the key, so that comparing says nothing about its length.
  private let keyDigest: [UInt8]?
  private let hostNames: Set<String>
  private let origins: Set<String>
  private let isAdjustable: Bool

  /// - Parameters:
  ///   - key: what clients must send as `Authorization: Bearer KEY`, `x-api-key` or `api-key`; nil for none.
  ///   - hostNames: names by which the server may be called, in addition to `localhost` and addresses.
  ///   - origins: web pages elsewhere that may use the server, as `https://example.org`; `*` for all.
  ///   - isAdjustable: whether the command has `--allowed-host` and `--cors-origin`, which errors then recommend.
  package init(
    key: String? = nil, hostNames: [String] = [], origins: [String] = [], isAdjustable: Bool = true
  ) {
    self.isAdjustable = isAdjustable
    keyDigest = key.map(Self.digest)
    self.hostNames = Set(hostNames.map { $0.lowercased() }).union(["localhost"])
    self.origins = Set(origins)
  }

  private static func digest(_ text: String) -> [UInt8] {
    var text = text
    return text.withUTF8 { SHA256.digest(UnsafeRawBufferPointer($0)) }
  }

  /// Why a request is refused whatever its path; nil if it is not.
  package func refusal(of request: HTTPRequest) -> APIError? {
    guard let host = request.headers["host"], isKnown(host: host) else {
      // A page elsewhere can make a browser call this server by a name of its own (DNS rebinding).
      return APIError(
        status: 403, kind: .permission,
        message: "The server is not known by the name in the Host header. "
          + (isAdjustable
            ? "To use this name, start it with --allowed-host and the name."
            : "Open the address that it printed when it started."),
        code: "host_not_allowed")
    }
    if let origin = request.headers["origin"], !isAllowed(origin: origin, host: host) {
      return APIError(
        status: 403, kind: .permission,
        message: "Pages of this origin may not use the server."
          + (isAdjustable ? " To let them, start it with --cors-origin and the origin." : ""),
        code: "origin_not_allowed")
    }
    return nil
  }

  /// Whether the request has the key, or none is required. Takes the same time for every wrong key.
  package func hasKey(_ request: HTTPRequest) -> Bool {
    guard let keyDigest else { return true }
    let header = request.headers["authorization"] ?? ""
    let words = header.split(separator: " ", maxSplits: 1)
    let isBearer = words.count == 2 && words[0].lowercased() == "bearer"
    // The other two are what Anthropic's and Azure's clients send.
    let given = [isBearer ? String(words[1]) : nil, request.headers["x-api-key"], request.headers["api-key"]]
    return given.reduce(false) { found, key in
      let difference = zip(Self.digest(key ?? ""), keyDigest).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
      return difference == 0 && key != nil || found
    }
  }

  /// Headers that let the page from which a request comes read the answer.
  package func crossOriginHeaders(_ request: HTTPRequest) -> [(name: String, value: String)] {
    guard let origin = request.headers["origin"], origins.contains("*") || origins.contains(origin) else { return [] }
    var headers = [
      (name: "Access-Control-Allow-Origin", value: origins.contains("*") ? "*" : origin),
      (name: "Access-Control-Expose-Headers", value: "x-request-id, retry-after, x-dropped-messages"),
      (name: "Vary", value: "Origin"),
    ]
    if request.method == "OPTIONS" {
      // Clients send headers of their own (x-stainless-…): all that are asked for are allowed.
      let wanted = request.headers["access-control-request-headers"] ?? "authorization, content-type"
      headers.append((name: "Access-Control-Allow-Methods", value: "GET, POST, OPTIONS"))
      headers.append((name: "Access-Control-Allow-Headers", value: wanted))
      headers.append((name: "Access-Control-Max-Age", value: "600"))
    }
    return headers
  }

  /// An address cannot be rebound, a name can.
  private func isKnown(host: String) -> Bool {
    let name = Self.name(ofHost: host)
    if name.hasPrefix("[") {
      return name.hasSuffix("]") && name.dropFirst().dropLast().allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." }
    }
    let numbers = name.split(separator: ".", omittingEmptySubsequences: false)
    if numbers.count == 4, numbers.allSatisfy({ UInt8($0) != nil }) { return true }
    return hostNames.contains(name)
  }

  /// The host without its port.
  private static func name(ofHost host: String) -> String {
    let host = host.lowercased()
    if host.hasPrefix("[") { return host.firstIndex(of: "]").map { String(host[...$0]) } ?? host }
    return host.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
  }

  /// The server's own page, or one that was allowed.
  private func isAllowed(origin: String, host: String) -> Bool {
    origins.contains("*") || origins.contains(origin) || origin == "http://" + host || origin == "https://" + host
  }
}
