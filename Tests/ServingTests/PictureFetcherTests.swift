import Foundation
import Machine
import Serving
import Synchronization
import Testing

/// A server of files on this machine, which the program itself would never ask.
final class LocalFiles: Sendable {
  static let content = Array("the bytes of a picture".utf8)

  private let server: HTTPServer
  let port: Int

  /// - Parameter files: more of them by their paths, as PNG.
  init(_ files: [String: [UInt8]] = [:]) throws {
    let recorder = Recorder()
    server = try HTTPServer(host: "127.0.0.1", port: 0) { request, sink in
      guard case .success(let request) = request else { return }
      recorder.add(request)
      switch request.path {
      case "/picture.png", "/typed": sink.respond(HTTPResponse(contentType: "Image/PNG; a=b", body: Self.content))
      case "/untyped": sink.respond(HTTPResponse(body: Self.content))
      case "/bytes": sink.respond(HTTPResponse(contentType: "application/octet-stream", body: Self.content))
      case "/page": sink.respond(HTTPResponse(contentType: "text/html", text: "<p>"))
      case "/moved":
        var response = HTTPResponse(status: 302, contentType: "image/png", body: Self.content)
        response.add("Location", "/picture.png")
        sink.respond(response)
      case "/nothing": sink.respond(HTTPResponse(contentType: "image/png"))
      case "/endless":
        sink.startStream(HTTPResponse(contentType: "image/png"))
        sink.write(Self.content)
      case let path:
        guard let file = files[path] else {
          return sink.respond(HTTPResponse(status: 404, contentType: "image/png", body: [1]))
        }
        sink.respond(HTTPResponse(contentType: "image/png", body: file))
      }
    }
    self.recorder = recorder
    port = Int(server.address.split(separator: ":").last!)!
  }

  private final class Recorder: Sendable {
    private let requests = Mutex<[HTTPRequest]>([])
    func add(_ request: HTTPRequest) { requests.withLock { $0.append(request) } }
    var all: [HTTPRequest] { requests.withLock { $0 } }
  }
  private let recorder: Recorder

  /// What has been asked for so far.
  var requests: [HTTPRequest] { recorder.all }

  func url(_ path: String, host: String = "127.0.0.1") -> String { "http://\(host):\(port)\(path)" }

  /// One that may ask this server.
  func fetcher(seconds: Double = 20) throws -> PictureFetcher {
    try PictureFetcher(allows: { $0 == IPAddress("127.0.0.1") }, ports: [port], seconds: seconds)
  }

  func stop() { server.stop(waitingFor: 0) }
}

@Suite("Pictures from elsewhere")
struct PictureFetcherTests {
  private func result(_ fetcher: PictureFetcher, _ url: String, limit: Int = 1000) -> Result<[UInt8], FetchError> {
    do throws(FetchError) {
      return .success(try fetcher.content(url, limit: limit, before: monotonicSeconds() + fetcher.seconds))
    } catch { return .failure(error) }
  }

  @Test("a file is fetched by a plain GET without credentials; redirects, other kinds and larger ones are refused")
  func fetching() throws {
    let files = try LocalFiles()
    defer { files.stop() }
    let fetcher = try files.fetcher()
    for path in ["/picture.png", "/untyped", "/bytes", "/typed"] {
      #expect(result(fetcher, files.url(path)) == .success(LocalFiles.content), "\(path)")
    }
    for request in files.requests {
      #expect(request.method == "GET" && request.body.isEmpty)
      #expect(Set(request.headers.keys).isSubset(of: ["host", "user-agent", "accept"]), "\(request.headers)")
    }
    let count = LocalFiles.content.count
    #expect(result(fetcher, files.url("/picture.png"), limit: count) == .success(LocalFiles.content))
    for (path, failure) in [
      ("/picture.png", FetchError.tooLarge(limit: count - 1)), ("/moved", .redirect(302)), ("/missing", .status(404)),
      ("/page", .kind("text/html")), ("/nothing", .empty),
    ] { #expect(result(fetcher, files.url(path), limit: count - 1) == .failure(failure), "\(path)") }
    let before = files.requests.count
    _ = result(fetcher, files.url("/moved"))
    #expect(files.requests.count == before + 1, "the redirect was followed")
  }

  private static let openSSL = "/usr/bin/openssl"

  @Test(
    "a certificate that nobody vouches for is refused",
    .enabled(if: FileManager.default.isExecutableFile(atPath: openSSL), "needs \(openSSL)"))
  func certificate() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func started(_ arguments: [String]) throws -> (process: Process, output: Pipe) {
      let (process, output) = (Process(), Pipe())
      process.executableURL = URL(fileURLWithPath: Self.openSSL)
      process.arguments = arguments
      process.currentDirectoryURL = folder
      process.standardInput = Pipe()
      process.standardOutput = output
      process.standardError = FileHandle.nullDevice
      try process.run()
      return (process, output)
    }
    let maker = try started(
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "certificate.pem", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
    maker.process.waitUntilExit()
    #expect(maker.process.terminationStatus == 0)
    let server = try started([
      "s_server", "-accept", "127.0.0.1:0", "-cert", "certificate.pem", "-key", "key.pem", "-www",
    ])
    defer { server.process.terminate() }
    // "ACCEPT 127.0.0.1:PORT" comes once it listens.
    var said = ""
    while !said.contains("\n") || !said.contains("ACCEPT ") {
      let part = server.output.fileHandleForReading.availableData
      try #require(!part.isEmpty, "openssl s_server ended: \(said)")
      said += String(decoding: part, as: UTF8.self)
    }
    let port = try #require(Int(said.components(separatedBy: "127.0.0.1:")[1].prefix(while: \.isNumber)))
    let fetcher = try PictureFetcher(allows: { $0 == IPAddress("127.0.0.1") }, ports: [port])
    guard case .failure(.failed(let reason)) = result(fetcher, "https://127.0.0.1:\(port)/") else {
      Issue.record("the server's word was taken for it")
      return
    }
    #expect(reason.contains("certificate"), "\(reason)")
  }

  @Test("an answer that does not end is given up in time")
  func patience() throws {
    let files = try LocalFiles()
    defer { files.stop() }
    let start = monotonicSeconds()
    #expect(result(try files.fetcher(seconds: 1), files.url("/endless")) == .failure(.late(seconds: 1)))
    #expect(monotonicSeconds() - start < 30)
    let fetcher = try files.fetcher()
    let late = #expect(throws: FetchError.self) {
      try fetcher.content(files.url("/picture.png"), limit: 1000, before: 0)
    }
    #expect(late == .late(seconds: 20))
  }

  @Test("no connection is made to this machine, whatever its address is called")
  func ownMachine() throws {
    let files = try LocalFiles()
    defer { files.stop() }
    let product = try PictureFetcher(ports: [files.port])
    for host in [
      "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.2", "0.0.0.0", "0", "localhost",
      "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    ] {
      let found = result(product, files.url("/picture.png", host: host))
      guard case .failure(let failure) = found else {
        Issue.record("\(host) was asked")
        continue
      }
      // Not every machine has all of these.
      let isKnown = if case .failed = failure { host != "127.0.0.1" && host != "localhost" } else { false }
      #expect(failure == .notPublic || failure == .noAddress || isKnown, "\(host): \(failure)")
    }
    #expect(files.requests.isEmpty)
  }

  @Test("addresses that are none, and those with credentials or other ports, are refused before anything is asked")
  func addresses() throws {
    let files = try LocalFiles()
    defer { files.stop() }
    let product = try PictureFetcher()
    #expect(result(product, files.url("/picture.png")) == .failure(.port(files.port)))
    for (url, failure) in [
      ("ftp://example.org/a.png", FetchError.noAddress), ("file:///etc/passwd", .noAddress), ("http://", .noAddress),
      ("example.org/a.png", .noAddress), ("http://a b/", .noAddress),
      ("http://example.org/\r\nHost: other", .noAddress), ("http://[::1", .noAddress),
      ("gopher://example.org", .noAddress),
      ("https://me:secret@example.org/a.png", .credentials), ("http://me@example.org/", .credentials),
      ("http://example.org:22/", .port(22)), ("https://example.org:8443/", .port(8443)),
      ("http://\(String(repeating: "a", count: 9000))/", .noAddress),
    ] { #expect(result(product, url) == .failure(failure), "\(url)") }
    #expect(files.requests.isEmpty)
  }

  @Test("addresses are public, or private, local, reserved or those of other networks")
  func publicAddresses() throws {
    for text in ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255"]
      + ["2606:4700::1111", "2a00:1450::1", "2001:200::1", "2001:4860:4860::8888"]
    { #expect(PublicAddresses.contains(try #require(IPAddress(text))), "\(text)") }
    for text in [
      "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
      "169.254.169.254",
      "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
      "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
      "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
      "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1",
      "fec0::1", "ff02::1", "5f00::1",
    ] { #expect(!PublicAddresses.contains(try #require(IPAddress(text))), "\(text)") }
    #expect(PublicAddresses.isOwn(try #require(IPAddress("127.0.0.1"))))
    #expect(!PublicAddresses.isOwn(try #require(IPAddress("8.8.8.8"))))
  }
}
