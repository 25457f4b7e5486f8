import Storage
import Testing

@Suite struct SplitMix64Tests {
  @Test("the numbers are those of the published generator")
  func numbers() {
    // The first outputs of Vigna's C code for this seed.
    var generator = SplitMix64(seed: 1_234_567)
    let expected: [UInt64] = [
      6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423, 4_593_380_528_125_082_431,
      16_408_922_859_458_223_821,
    ]
    #expect(expected.map { _ in generator.next() } == expected)
  }

  @Test("numbers below a bound and in the unit interval come from the same bits")
  func ranges() {
    var generator = SplitMix64(seed: 1_234_567)
    // 6457827717110365317 / 2⁶⁴ is 0.35008…
    #expect(generator.next(below: 1000) == 350)
    #expect(generator.nextUniform() == Double(UInt64(3_203_168_211_198_807_973) >> 11) / 0x1p53)
    #expect(generator.next(below: 1) == 0)
  }
}
