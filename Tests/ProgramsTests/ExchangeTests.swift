import Programs
import Testing

/// What replicas of a program give each other.
@Suite("Exchange between replicas")
struct ExchangeTests {
  private let operands = [[1, 2, 3, 4], [10, 20, 30, 40]].map { HostTensor($0.map(Float.init), [4]) }

  private func run(_ kind: Operation.Exchange) -> [[Float]] {
    let builder = ProgramBuilder(replicas: 2)
    let program = builder.program([builder.input("x", TensorType(.float32, [4])).exchanged(kind)])
    return Interpreter(replicas: 2).run(program, [operands])[0].map(\.floats)
  }

  @Test("each replica gets what the definitions say")
  func values() {
    #expect(run(.sum) == [[11, 22, 33, 44], [11, 22, 33, 44]])
    #expect(run(.partOfSum) == [[11, 22], [33, 44]])
    #expect(run(.all) == [[1, 2, 3, 4, 10, 20, 30, 40], [1, 2, 3, 4, 10, 20, 30, 40]])
    #expect(run(.part) == [[1, 2], [30, 40]])
  }

  @Test("what cannot be exchanged is refused")
  func refused() {
    let list = TensorType(.float32, [4])
    #expect(throws: ProgramError.self) { try Operation.exchange(.sum, replicas: 2).result([TensorType(.int32, [4])]) }
    #expect(throws: ProgramError.self) { try Operation.exchange(.part, replicas: 3).result([list]) }
    #expect(throws: ProgramError.self) {
      try Operation.exchange(.all, replicas: 2).result([TensorType(.float32, [2, 2])])
    }
    #expect(throws: ProgramError.self) { try Operation.exchange(.sum, replicas: 2).result([list, list]) }
  }
}
