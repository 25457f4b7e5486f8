/// Appends a text in quotes, as JSON has it. Bytes that are not UTF-8 stay as they are, and are found by who reads them.
package func appendJSONText(_ utf8: some Sequence<UInt8>, to text: inout [UInt8]) {
  text.append(UInt8(ascii: "\""))
  for byte in utf8 {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
    case UInt8(ascii: "\n"): text += "\\n".utf8
    case 0..<0x20:
      let digits = Array("0123456789abcdef".utf8)
      text += "\\u00".utf8
      text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    default: text.append(byte)
    }
  }
  text.append(UInt8(ascii: "\""))
}
