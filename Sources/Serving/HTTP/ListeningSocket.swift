import Foundation

/// Why the server cannot start.
package struct ServingError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}

/// A socket that waits for connections at a name or address.
struct ListeningSocket {
  let descriptor: Int32
  /// The address as part of a URL: "127.0.0.1:8080", "[::1]:8080".
  let address: String

  /// - Parameter port: 0 for any that is free.
  /// - Throws: `ServingError` when the host is unknown or the port taken.
  init(host: String, port: Int) throws(ServingError) {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_PASSIVE | AI_ADDRCONFIG
    var found: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, String(port), &hints, &found)
    guard code == 0, let found else {
      throw ServingError(
        "cannot listen on \(host): \(String(cString: gai_strerror(code))). Give --host an address of this machine.")
    }
    defer { freeaddrinfo(found) }
    let info = found.pointee
    descriptor = socket(info.ai_family, info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), info.ai_protocol)
    guard descriptor >= 0 else { throw Self.failure(host, port, errno) }
    var yes: Int32 = 1
    // A server that was just stopped has left connections in TIME_WAIT; they must not keep the next one from starting.
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    guard bind(descriptor, info.ai_addr, info.ai_addrlen) == 0, listen(descriptor, 256) == 0 else {
      let code = errno
      close(descriptor)
      throw Self.failure(host, port, code)
    }
    address = Self.address(of: descriptor)
  }

  private static func failure(_ host: String, _ port: Int, _ code: Int32) -> ServingError {
    let reason =
      switch code {
      case EADDRINUSE: "another program uses this port. Stop it, or choose another --port"
      case EACCES: "ports below 1024 are for the administrator. Choose another --port"
      case EADDRNOTAVAIL: "this machine does not have that address. Choose another --host"
      default: String(cString: strerror(code))
      }
    return ServingError("cannot listen on \(host), port \(port): \(reason).")
  }

  /// Where a bound socket listens.
  private static func address(of descriptor: Int32) -> String {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        guard getsockname(descriptor, address, &size) == 0,
          getnameinfo(
            address, size, &host, socklen_t(host.count), &port, socklen_t(port.count), NI_NUMERICHOST | NI_NUMERICSERV)
            == 0
        else { return "?" }
        func text(_ characters: [CChar]) -> String {
          String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
        let name = text(host)
        return (name.contains(":") ? "[\(name)]" : name) + ":" + text(port)
      }
    }
  }
}
