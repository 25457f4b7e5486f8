/// A copy of `bytes` with one to four faults of the kinds that disks, networks and attackers make:
/// flipped bits, changed or inserted or removed bytes, a cut, a digit turned into another, a repeated piece.
package func damaged(_ bytes: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
  var result = bytes
  for _ in 0..<Int.random(in: 1...4, using: &generator) {
    guard !result.isEmpty else { return result }
    let place = Int.random(in: 0..<result.count, using: &generator)
    switch Int.random(in: 0..<7, using: &generator) {
    case 0: result[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
    case 1: result[place] = UInt8.random(in: 0...255, using: &generator)
    case 2: result.insert(UInt8(ascii: "9"), at: place)
    case 3: result.remove(at: place)
    case 4: result.removeSubrange(place...)
    case 5:
      let digits = result.indices.filter { (0x30...0x39).contains(result[$0]) }
      if let digit = digits.randomElement(using: &generator) {
        result[digit] = UInt8.random(in: 0x2D...0x39, using: &generator)
      }
    default:
      let end = min(result.count, place + Int.random(in: 1...64, using: &generator))
      result.insert(contentsOf: result[place..<end], at: place)
    }
  }
  return result
}
