/// An archive in ustar, made of its parts.
struct TarArchive {
  private static let blockBytes = 512
  private var blocks: [UInt8] = []

  /// The archive with its end.
  var bytes: [UInt8] { blocks + [UInt8](repeating: 0, count: 2 * Self.blockBytes) }

  /// - Parameters:
  ///   - type: of the member: "0" for a file.
  ///   - size: what the header says; nil for the truth.
  mutating func add(_ name: String, _ content: [UInt8] = [], type: Character = "0", size: Int? = nil) {
    var header = [UInt8](repeating: 0, count: Self.blockBytes)
    func write(_ text: String, at offset: Int) {
      header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
    }
    func octal(_ number: Int, _ digits: Int) -> String {
      let text = String(number, radix: 8)
      return String(repeating: "0", count: digits - text.count) + text
    }
    write(String(name.prefix(100)), at: 0)
    write("0000644", at: 100)
    write(octal(size ?? content.count, 11), at: 124)
    write(String(type), at: 156)
    write("ustar", at: 257)
    write("00", at: 263)
    write("        ", at: 148)
    let sum = header.reduce(0) { $0 + Int($1) }
    write(octal(sum, 6) + "\0", at: 148)
    blocks += header + content
    blocks += [UInt8](repeating: 0, count: (Self.blockBytes - content.count % Self.blockBytes) % Self.blockBytes)
  }

  /// A file whose name is in a member of its own, as pax writes long ones.
  mutating func add(longName name: String, _ content: [UInt8]) {
    let rest = " path=\(name)\n"
    var count = rest.utf8.count + 1
    while String(count).utf8.count + rest.utf8.count != count { count = String(count).utf8.count + rest.utf8.count }
    add("PaxHeaders/x", Array((String(count) + rest).utf8), type: "x")
    add("short", content)
  }
}
