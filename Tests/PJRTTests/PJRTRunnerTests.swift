import Foundation
import Model
import PJRT
import ProgramEngine
import Programs
import TestSupport
import Testing

/// A plugin against the interpreter. These run where `MINIMIND_PJRT_PLUGIN` names a plugin, as `make interop` does.
@Suite(
  "PJRT", .serialized,
  .enabled(if: ProcessInfo.processInfo.environment[PJRTPlugin.variable] != nil, "MINIMIND_PJRT_PLUGIN names no plugin"))
struct PJRTRunnerTests {
  private static func runner(cache: ProgramCache? = nil) throws -> PJRTRunner {
    try PJRTRunner(plugin: try PJRTPlugin.find(), cache: cache)
  }

  private func run(_ runner: PJRTRunner, _ program: Program, _ inputs: [HostTensor]) throws -> [HostTensor] {
    let loaded = try runner.load(program)
    return try runner.run(loaded, try inputs.map(runner.upload)).map(runner.download)
  }

  /// All operations, each an output of its own.
  private func everything() -> (program: Program, inputs: [HostTensor]) {
    var generator = SeededGenerator(seed: 4)
    func random(_ shape: Int...) -> HostTensor {
      HostTensor((0..<shape.reduce(1, *)).map { _ in Float.random(in: -2...2, using: &generator) }, shape)
    }
    let inputs = [
      random(2, 3, 4), random(2, 3, 4), random(5, 3), HostTensor(integers: [4, -1, 0, 9], [4]), random(4, 3),
      HostTensor(TensorType(.boolean, [2, 1, 4]), .booleans((0..<8).map { $0 % 3 == 0 })),
      HostTensor(random(2, 3).floats, [2, 3], .bfloat16),
    ]
    let builder = ProgramBuilder()
    let t = inputs.enumerated().map { builder.input("\($0)", $1.type) }
    let (x, y, table, numbers, rows, flags, half) = (t[0], t[1], t[2], t[3], t[4], t[5], t[6])
    let outputs: [Tensor] = [
      x + y, x - y, x * y, x / y, .maximum(x, y), .minimum(x, y), -x, x.exponential, (x * x).logarithm, x.sigmoid,
      (x * x + 1).reciprocalSquareRoot, (x * x).squareRoot, x.kept(where: flags, else: -.infinity),
      x.kept(where: (x .< y) .& (x .<= y), else: y), (x .== x).float32, x.transposed([2, 0, 1]), x.reshaped([4, 6]),
      x.slice(1, 1..<3), .concatenated([x, y.slice(1, 0..<1)], 1), x.sum(0), x.mean(1), x.maximum(2), x.minimum(0),
      x.indices(2), x.indices(1).float32, half.float32, x.converted(to: .bfloat16), numbers + 3,
      numbers / numbers.filled(3),
      numbers ^ numbers.filled(-5), (numbers - 3).shiftedRight(2), numbers * 0x7FEB_352D,
      numbers.reshaped([4, 1]).cumulativeSum(0), table.rows(numbers), table.adding(rows, toRows: numbers),
      numbers.adding(numbers, toRows: numbers), rows.times(table, rightTransposed: true), x.after(y),
      x.product(y, ProductAxes(leftBatch: [0, 2], rightBatch: [0, 2], leftContracted: [1], rightContracted: [1])),
      half.times(half, rightTransposed: true), builder.constant(1e-5, TensorType(.float32, [])), numbers.maximum(0),
    ]
    return (builder.program(outputs), inputs)
  }

  @Test("each operation gives what the interpreter gives")
  func operations() throws {
    let (program, inputs) = everything()
    let found = try run(try Self.runner(), program, inputs)
    for (index, (found, expected)) in zip(found, Interpreter().run(program, inputs)).enumerated() {
      #expect(found.type == expected.type)
      guard case .floats(let numbers) = found.values else {
        #expect(found == expected, "output \(index)")
        continue
      }
      for (left, right) in zip(numbers, expected.floats) where left != right {
        #expect(abs(left - right) <= 1e-6 * max(1, abs(right)), "output \(index)")
      }
    }
  }

  @Test("an output takes the memory of its input, which is gone")
  func donation() throws {
    let builder = ProgramBuilder()
    let x = builder.input("x", TensorType(.float32, [3]))
    let program = builder.program([x + 1], donated: ["x": 0])
    let runner = try Self.runner()
    let memory = try runner.upload(HostTensor([1, 2, 3], [3]))
    let loaded = try runner.load(program)
    #expect(try runner.download(try runner.run(loaded, [memory])[0]).floats == [2, 3, 4])
    #expect(throws: PJRTError.self) { try runner.run(loaded, [memory]) }
  }

  @Test("a compiled program comes from the cache, and from its text where that is damaged")
  func cache() throws {
    try withTemporaryDirectory { folder in
      let (program, inputs) = everything()
      let cache = ProgramCache(folder: folder + "/programs")
      let first = try run(try Self.runner(cache: cache), program, inputs)
      let files = try FileManager.default.contentsOfDirectory(atPath: cache.folder)
      let file = cache.folder + "/" + (try #require(files.first))
      #expect(files.count == 1)
      #expect(try run(try Self.runner(cache: cache), program, inputs) == first)
      var bytes = try #require(FileManager.default.contents(atPath: file))
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: URL(fileURLWithPath: file))
      #expect(cache.read(files[0]) == nil)
      #expect(try run(try Self.runner(cache: cache), program, inputs) == first)
    }
  }

  /// On a GPU this is what says that the kernel can be used; other plugins have none.
  @Test(
    "the kernel of attention agrees with the composed one", arguments: [32, 48, 96], [TensorElement.float32, .bfloat16])
  func attention(size: Int, element: TensorElement) throws {
    let runner = try Self.runner()
    let trial = AttentionTrial(heads: 4, groups: 2, size: size, element)
    guard runner.platform == "cuda" else {
      let shape = AttentionShape(tokens: 1, heads: 4, groups: 2, size: size, element)
      #expect(runner.attentionVerdict(shape) { try trial.verdict(on: runner) } == nil)
      return
    }
    let verdict = try trial.verdict(on: runner)
    #expect(verdict.works, "\(verdict)")
  }

  @Test("a device says what it is, and a program what memory it takes")
  func description() throws {
    let runner = try Self.runner()
    #expect(!runner.platform.isEmpty && !runner.devices.isEmpty && !runner.devices[0].kind.isEmpty)
    #expect(try runner.temporaryBytes(everything().program) >= 0)
  }

  @Test("two devices give each other what the interpreter's replicas do; more than there are is refused")
  func replicas() throws {
    let count = try Self.runner().devices.count
    let path = try PJRTPlugin.find()
    let error = #expect(throws: PJRTError.self) { try PJRTRunner(plugin: path, cache: nil, replicas: count + 1) }
    #expect(error?.description.contains("--devices \(count + 1)") == true)
    guard count > 1 else { return }
    let runner = try PJRTRunner(plugin: path, cache: nil, replicas: 2)
    let builder = ProgramBuilder(replicas: 2)
    let x = builder.input("x", TensorType(.float32, [6]))
    let program = builder.program(Operation.Exchange.allCases.map { x.exchanged($0) })
    let inputs = [[1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60]].map { HostTensor($0.map(Float.init), [6]) }
    let outputs = try runner.run(try runner.load(program), [try runner.upload(inputs)])
    let expected = Interpreter(replicas: 2).run(program, [inputs])
    for (output, expected) in zip(outputs, expected) {
      #expect(try (0..<2).map { try runner.download(output, replica: $0) } == expected)
    }
  }
}
