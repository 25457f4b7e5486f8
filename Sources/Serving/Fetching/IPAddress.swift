import Foundation

/// The address of a machine, as a connection is made to it.
package struct IPAddress: Sendable, Hashable {
  /// Four of IPv4, sixteen of IPv6, from the first one of its text.
  package let bytes: [UInt8]

  package init(bytes: [UInt8]) {
    precondition(bytes.count == 4 || bytes.count == 16, "an address of \(bytes.count) bytes")
    self.bytes = bytes
  }

  /// - Returns: nil for an address of another kind.
  init?(_ address: UnsafePointer<sockaddr>) {
    let raw = UnsafeRawPointer(address)
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
      bytes = withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in.self).sin_addr) { Array($0) }
    case AF_INET6:
      bytes = withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr) { Array($0) }
    default: return nil
    }
  }

  /// - Parameter text: as "192.0.2.1" or "2001:db8::1".
  package init?(_ text: String) {
    var four = in_addr()
    var six = in6_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      bytes = withUnsafeBytes(of: four) { Array($0) }
    } else if inet_pton(AF_INET6, text, &six) == 1 {
      bytes = withUnsafeBytes(of: six) { Array($0) }
    } else {
      return nil
    }
  }

  /// Whether the first bits are those of another address.
  fileprivate func begins(like other: IPAddress, bits: Int) -> Bool {
    guard bytes.count == other.bytes.count else { return false }
    return (0..<bits).allSatisfy { bit in
      let mask = UInt8(0x80) >> (bit % 8)
      return bytes[bit / 8] & mask == other.bytes[bit / 8] & mask
    }
  }
}

/// Which addresses are of machines that anybody on the internet can reach.
package enum PublicAddresses {
  /// IANA's special-purpose addresses of IPv4 that are not reachable globally (RFC 6890 and its registry), relays of 6to4,
  /// multicast, what is reserved, and the address at which Azure's hosts serve their own virtual machines.
  private static let refusedOfFour = blocks([
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
  ])
  /// Of IPv6 only what is given out to networks (RFC 4291) counts: so neither mapped addresses of IPv4 nor translated,
  /// private, link-local and multicast ones do.
  private static let given = blocks(["2000::/3"])
  /// What of it is not reachable globally, or leads to an address of IPv4 (Teredo, 6to4).
  private static let refusedOfSix = blocks(["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"])

  private static func blocks(_ texts: [String]) -> [(address: IPAddress, bits: Int)] {
    texts.map { text in
      let parts = text.split(separator: "/")
      return (IPAddress(String(parts[0]))!, Int(parts[1])!)
    }
  }

  package static func contains(_ address: IPAddress) -> Bool {
    func isIn(_ blocks: [(address: IPAddress, bits: Int)]) -> Bool {
      blocks.contains { address.begins(like: $0.address, bits: $0.bits) }
    }
    return address.bytes.count == 4 ? !isIn(refusedOfFour) : isIn(given) && !isIn(refusedOfSix)
  }

  /// Whether the address is one of this machine's own, whose services may trust it.
  package static func isOwn(_ address: IPAddress) -> Bool {
    var first: UnsafeMutablePointer<ifaddrs>?
    // Where they cannot be listed, any may be.
    guard getifaddrs(&first) == 0 else { return true }
    defer { freeifaddrs(first) }
    var entry = first
    while let interface = entry?.pointee {
      if let own = interface.ifa_addr, IPAddress(own) == address { return true }
      entry = interface.ifa_next
    }
    return false
  }
}
