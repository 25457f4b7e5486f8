import CCurl
import Foundation
import Machine
import Synchronization

/// Fetches files that requests name by their addresses, from machines that anybody can reach alone.
///
/// What is checked is the address that a connection is made to, after its name has been resolved: libcurl asks before each
/// (`CURLOPT_OPENSOCKETFUNCTION`). So a name that leads elsewhere at the second look changes nothing.
package struct PictureFetcher: Sendable {
  /// Whether a connection may be made to an address.
  private let allows: @Sendable (IPAddress) -> Bool
  private let ports: Set<Int>
  /// For all of the pictures of a request.
  package let seconds: Double

  /// - Parameters:
  ///   - allows: tests give another, for a server of their own.
  ///   - ports: likewise.
  /// - Throws: `FetchError.noLibrary`.
  package init(
    allows: @escaping @Sendable (IPAddress) -> Bool = { PublicAddresses.contains($0) && !PublicAddresses.isOwn($0) },
    ports: Set<Int> = [80, 443], seconds: Double = 20
  ) throws(FetchError) {
    if let reason = ccLoad() { throw .noLibrary(String(cString: reason)) }
    self.allows = allows
    self.ports = ports
    self.seconds = seconds
  }

  /// Whether a text is the address of a file in the web, whatever is to be said of it.
  static func isAddress(_ text: String) -> Bool {
    ["http://", "https://"].contains { text.prefix($0.count).lowercased() == $0 }
  }

  /// What arrives, and why no more of it is taken.
  private final class Transfer: Sendable {
    struct State {
      var bytes: [UInt8] = []
      var failure: FetchError?
      /// Connections that were allowed and that were not: a name may have several addresses.
      var (allowed, refused) = (0, 0)
    }
    let fetcher: PictureFetcher
    let limit: Int
    let state = Mutex(State())

    init(_ fetcher: PictureFetcher, limit: Int) {
      self.fetcher = fetcher
      self.limit = limit
    }

    func allows(_ address: UnsafePointer<sockaddr>) -> Bool {
      let port = PictureFetcher.port(address)
      guard let found = IPAddress(address), fetcher.allows(found), let port, fetcher.ports.contains(port) else {
        state.withLock { $0.refused += 1 }
        return false
      }
      state.withLock { $0.allowed += 1 }
      return true
    }

    func take(status: Int, kind: String?, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
      state.withLock { state in
        if let failure = PictureFetcher.failure(status: status, kind: kind) {
          state.failure = failure
        } else if state.bytes.count + bytes.count > limit {
          state.failure = .tooLarge(limit: limit)
        }
        guard state.failure == nil else { return false }
        state.bytes += bytes
        return true
      }
    }
  }

  /// The content of a file.
  ///
  /// - Parameters:
  ///   - limit: the most bytes.
  ///   - end: when it must have arrived, by `monotonicSeconds`.
  /// - Throws: `FetchError`.
  package func content(_ url: String, limit: Int, before end: Double) throws(FetchError) -> [UInt8] {
    var parts = CCParts()
    guard Self.isAddress(url), url.utf8.count <= 8192, !url.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }),
      ccParse(url, &parts) == 0
    else { throw .noAddress }
    guard parts.hasUser == 0 else { throw .credentials }
    guard ports.contains(Int(parts.port)) else { throw .port(Int(parts.port)) }
    let left = end - monotonicSeconds()
    guard left > 0 else { throw .late(seconds: seconds) }

    let transfer = Transfer(self, limit: limit)
    let result = url.withCString { text in
      withExtendedLifetime(transfer) {
        var request = CCRequest(
          url: text, milliseconds: Int64(max(1, left * 1000)),
          allows: { context, address in
            Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().allows(address) ? 1 : 0
          },
          takes: { context, status, kind, bytes, count in
            let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            let kind = kind.map { String(cString: $0) }
            return transfer.take(
              status: Int(status), kind: kind, UnsafeBufferPointer(start: bytes, count: count)) ? 1 : 0
          },
          context: Unmanaged.passUnretained(transfer).toOpaque())
        return ccFetch(&request)
      }
    }
    let state = transfer.state.withLock { $0 }
    if let failure = state.failure { throw failure }
    switch result.code {
    case 0: break
    case _ where state.refused > 0 && state.allowed == 0: throw .notPublic
    // CURLE_OPERATION_TIMEDOUT
    case 28: throw .late(seconds: seconds)
    case let code: throw .failed(String(cString: ccMessage(code)))
    }
    // Of an answer without a body nothing has been taken.
    if let failure = Self.failure(status: Int(result.status), kind: nil) { throw failure }
    guard !state.bytes.isEmpty else { throw .empty }
    return state.bytes
  }

  /// What is wrong with an answer by its status and the kind of its content.
  private static func failure(status: Int, kind: String?) -> FetchError? {
    if (300..<400).contains(status) { return .redirect(status) }
    guard status == 200 else { return .status(status) }
    guard let kind = kind?.prefix(while: { $0 != ";" }).lowercased().trimmingCharacters(in: .whitespaces) else {
      return nil
    }
    return kind.hasPrefix("image/") || kind == "application/octet-stream" ? nil : .kind(String(kind.prefix(40)))
  }

  private static func port(_ address: UnsafePointer<sockaddr>) -> Int? {
    let raw = UnsafeRawPointer(address)
    switch Int32(address.pointee.sa_family) {
    case AF_INET: return Int(UInt16(bigEndian: raw.loadUnaligned(as: sockaddr_in.self).sin_port))
    case AF_INET6: return Int(UInt16(bigEndian: raw.loadUnaligned(as: sockaddr_in6.self).sin6_port))
    default: return nil
    }
  }
}

/// Why a picture was not fetched. The texts go on from "a picture of 'messages[0].content' ".
package enum FetchError: Error, Equatable, Sendable, CustomStringConvertible {
  case noAddress
  case credentials
  case port(Int)
  case notPublic
  case redirect(Int)
  case status(Int)
  case kind(String)
  case tooLarge(limit: Int)
  case late(seconds: Double)
  case empty
  case failed(String)
  case noLibrary(String)

  package var description: String {
    switch self {
    case .noAddress: "has no address that can be read; https://example.org/picture.png is one."
    case .credentials: "has an address with a user or a password, and none are sent. Leave them out."
    case .port(let port): "is at port \(port), and pictures are fetched from 80 and 443 only."
    case .notPublic: "is at an address that is not public, and this server fetches pictures from public ones only."
    case .redirect(let status):
      "is not at its address: the answer there is \(status), a redirect, which is not followed. Give the address that it "
        + "leads to."
    case .status(let status): "cannot be fetched: the answer at its address is \(status)."
    case .kind(let kind): "is of the kind \"\(kind)\" at its address, which is no picture."
    case .tooLarge(let limit): "has more than \(limit >> 20) MiB. Make it smaller."
    case .late(let seconds): "has not arrived within the \(Int(seconds)) seconds for the pictures of a request."
    case .empty: "is empty at its address."
    case .failed(let reason): "cannot be fetched: \(reason)."
    case .noLibrary(let reason):
      "cannot be fetched: libcurl is missing (\(reason)). Install it: apt-get install libcurl4"
    }
  }
}
