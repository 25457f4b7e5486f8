import Compute
import Model
import TestSupport
import Testing

struct ConversionTests {
  @Test("conversion rounds each element once and writes nothing else", arguments: oddSizes, Layout.all)
  func convertsElements(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    for from in ElementType.allCases {
      for to in ElementType.allCases {
        let source = GuardedMatrix(
          randomFloats(3 * width, using: &generator), rows: 3, columns: width, type: from, layout: layout)
        let before = source.values
        // Other bytes around the target, so that a copy of the source's is seen there.
        let target = GuardedMatrix(zeros: 3, columns: width, type: to, layout: layout, guardByte: 0x7F)
        convert(source.view, to: target.view)
        #expect(target.values == (to == .float32 ? before : before.map { BFloat16($0).float }))
        #expect(source.values == before)
        #expect(source.isIntactOutside && target.isIntactOutside)
      }
    }
  }

  @Test("addRows adds in Float", arguments: oddSizes, Layout.all)
  func addsElements(width: Int, layout: Layout) {
    var generator = SeededGenerator(seed: UInt64(width))
    for type in ElementType.allCases {
      let source = GuardedMatrix(
        randomFloats(3 * width, using: &generator), rows: 3, columns: width, type: type, layout: layout)
      let target = GuardedMatrix(
        randomFloats(3 * width, using: &generator), rows: 3, columns: width, layout: layout)
      let expected = zip(target.values, source.values).map { $0 + $1 }
      addRows(source.view, into: target.view)
      #expect(target.values == expected)
      #expect(source.isIntactOutside && target.isIntactOutside)
    }
  }
}
