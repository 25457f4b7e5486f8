import Programs
import Testing

/// The text of each primitive, in the form in which compilers read it.
@Suite("StableHLO")
struct StableHLOTests {
  /// The statements of a program that `body` writes over x [2, 3] and y [3] of fp32 and n [4] of int32.
  private func statements(_ body: (_ x: Tensor, _ y: Tensor, _ n: Tensor) -> Tensor) -> [String] {
    let builder = ProgramBuilder()
    let result = body(
      builder.input("x", TensorType(.float32, [2, 3])), builder.input("y", TensorType(.float32, [3])),
      builder.input("n", TensorType(.int32, [4])))
    let lines = builder.program([result]).stableHLO.split(separator: "\n").map(String.init)
    return lines.dropFirst(2).dropLast(3).map { String($0.drop { $0 == " " }) }
  }

  @Test("a program is a module with a function; an input whose memory an output takes says so")
  func module() {
    let builder = ProgramBuilder()
    let x = builder.input("x", TensorType(.float32, [2, 3]))
    let n = builder.input("n", TensorType(.int32, []))
    let text = builder.program([n, -x], donated: ["x": 1]).stableHLO
    #expect(
      text == """
        module @program {
          func.func public @main(%arg0: tensor<2x3xf32> {tf.aliasing_output = 1 : i32}, %arg1: tensor<i32>) -> (tensor<i32>, tensor<2x3xf32>) {
            %2 = stablehlo.negate %arg0 : tensor<2x3xf32>
            return %arg1, %2 : tensor<i32>, tensor<2x3xf32>
          }
        }

        """)
  }

  @Test("numbers: floats have a point, infinities are bit patterns")
  func literals() {
    func constant(_ value: Double, _ element: TensorElement) -> String {
      let builder = ProgramBuilder()
      let lines = builder.program([builder.constant(value, TensorType(element, []))]).stableHLO.split(separator: "\n")
      return lines[2].split(separator: "dense<")[1].prefix { $0 != ">" }.description
    }
    #expect(constant(1e-5, .float32) == "1.0e-05")
    #expect(constant(0.1, .bfloat16) == "0.1")
    #expect(constant(3, .float32) == "3.0")
    #expect(constant(-2.5e20, .float32) == "-2.5e+20")
    #expect(constant(-7, .int32) == "-7")
    #expect(constant(-.infinity, .float32) == "0xFF800000")
    #expect(constant(.infinity, .bfloat16) == "0x7F80")
  }

  @Test("each operation")
  func operations() {
    let x = "tensor<2x3xf32>"
    #expect(
      statements { x, _, _ in x.indices(1) } == ["%3 = stablehlo.iota dim = 1 : tensor<2x3xi32>"])
    #expect(
      statements { x, _, _ in x.converted(to: .bfloat16) } == [
        "%3 = stablehlo.convert %arg0 : (\(x)) -> tensor<2x3xbf16>"
      ])
    #expect(
      statements { x, _, _ in x.reshaped([6]) } == ["%3 = stablehlo.reshape %arg0 : (\(x)) -> tensor<6xf32>"])
    #expect(
      statements { x, _, _ in x.transposed([1, 0]) } == [
        "%3 = stablehlo.transpose %arg0, dims = [1, 0] : (\(x)) -> tensor<3x2xf32>"
      ])
    #expect(
      statements { x, y, _ in x + y } == [
        "%3 = stablehlo.broadcast_in_dim %arg1, dims = [1] : (tensor<3xf32>) -> \(x)",
        "%4 = stablehlo.add %arg0, %3 : \(x)",
      ])
    #expect(
      statements { x, _, _ in x.slice(1, 1..<3) } == [
        "%3 = stablehlo.slice %arg0 [0:2, 1:3] : (\(x)) -> tensor<2x2xf32>"
      ])
    #expect(
      statements { x, _, _ in .concatenated([x, x], 0) } == [
        "%3 = stablehlo.concatenate %arg0, %arg0, dim = 0 : (\(x), \(x)) -> tensor<4x3xf32>"
      ])
    #expect(
      statements { x, _, _ in x.kept(where: x .<= x, else: -.infinity) } == [
        "%3 = stablehlo.compare LE, %arg0, %arg0 : (\(x), \(x)) -> tensor<2x3xi1>",
        "%4 = stablehlo.constant dense<0xFF800000> : \(x)",
        "%5 = stablehlo.select %3, %arg0, %4 : tensor<2x3xi1>, \(x)",
      ])
    #expect(
      statements { x, _, _ in x.maximum(1) } == [
        "%start3 = stablehlo.constant dense<0xFF800000> : tensor<f32>",
        "%3 = stablehlo.reduce(%arg0 init: %start3) applies stablehlo.maximum across dimensions = [1] : "
          + "(\(x), tensor<f32>) -> tensor<2xf32>",
        "%4 = stablehlo.reshape %3 : (tensor<2xf32>) -> tensor<2x1xf32>",
      ])
    #expect(
      statements { x, _, _ in x.after(x) * 2 } == [
        "%3:2 = stablehlo.optimization_barrier %arg0, %arg0 : \(x), \(x)",
        "%4 = stablehlo.constant dense<2.0> : \(x)",
        "%5 = stablehlo.multiply %3#0, %4 : \(x)",
      ])
  }

  @Test("products of fp32 ask for all bits, those of bfloat16 do not")
  func products() {
    #expect(
      statements { x, _, _ in x.times(x, rightTransposed: true) } == [
        "%3 = stablehlo.dot_general %arg0, %arg0, contracting_dims = [1] x [1], precision = [HIGHEST, HIGHEST] : "
          + "(tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x2xf32>"
      ])
    let batched = statements { x, _, _ in
      let half = x.converted(to: .bfloat16)
      return half.product(
        half, ProductAxes(leftBatch: [0], rightBatch: [0], leftContracted: [1], rightContracted: [1]))
    }
    #expect(
      batched.last == "%4 = stablehlo.dot_general %3, %3, batching_dims = [0] x [0], contracting_dims = [1] x [1] : "
        + "(tensor<2x3xbf16>, tensor<2x3xbf16>) -> tensor<2xf32>")
  }

  @Test("attention is a call of a kernel, whose text stands once in the module")
  func attention() throws {
    let builder = ProgramBuilder()
    let queries = builder.input("queries", TensorType(.bfloat16, [8, 2, 16]))
    let keys = builder.input("keys", TensorType(.bfloat16, [8, 1, 16]))
    let documents = builder.input("documents", TensorType(.int32, [8]))
    let results = (0..<2).map { _ in queries.attention(.forward, [keys, keys, documents], longest: 4) }
    let program = builder.program(results)
    let text = program.stableHLO { pass, shape in
      #expect(pass == .forward && shape == AttentionShape(tokens: 8, heads: 2, groups: 1, size: 16, .bfloat16))
      return KernelCall(name: "a", ptx: "x \"y\"\n\tz\\", columns: 3, rows: 2, threads: 64)
    }
    let lines = text.split(separator: "\n").map(String.init)
    #expect(lines[0] == #"#kernel0 = "x \"y\"\n\tz\\""#)
    #expect(lines.count { $0.hasPrefix("#") } == 1 && lines[1].hasPrefix("module @program"))
    let call =
      "stablehlo.custom_call @\"__gpu$xla.gpu.ptx\"(%arg0, %arg1, %arg1, %arg2) {api_version = 4 : i32, backend_config = "
      + "{name = \"a\", kernel_type = \"ptx\", kernel_data = #kernel0, grid_x = 3 : i32, grid_y = 2 : i32, grid_z = 1 : i32, "
      + "block_x = 64 : i32, block_y = 1 : i32, block_z = 1 : i32, shared_mem_bytes = 0 : i32, output_indices = [4 : i32]}, "
      + "operand_layouts = [dense<[2, 1, 0]> : tensor<3xindex>, dense<[2, 1, 0]> : tensor<3xindex>, "
      + "dense<[2, 1, 0]> : tensor<3xindex>, dense<[0]> : tensor<1xindex>], result_layouts = [dense<[0]> : tensor<1xindex>]} : "
      + "(tensor<8x2x16xbf16>, tensor<8x1x16xbf16>, tensor<8x1x16xbf16>, tensor<8xi32>) -> tensor<272xf32>"
    #expect(lines.count { $0.hasSuffix(call) } == 2)
    // Each token sees two of four on average, and a half of itself more: o and scores of two heads of 16.
    #expect(program.productOperations == 2 * (2 * 8 * 2 * 16 * 5 / 2 * 2))
  }

  @Test("rows by number")
  func rows() {
    let gathered = statements { x, _, n in x.rows(n) }
    #expect(gathered[0] == "%rows3 = stablehlo.reshape %arg2 : (tensor<4xi32>) -> tensor<4x1xi32>")
    #expect(
      gathered[1].contains("offset_dims = [1], collapsed_slice_dims = [0]")
        && gathered[1].contains("slice_sizes = array<i64: 1, 3>")
        && gathered[1].hasSuffix("(tensor<2x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>"))
    let added = statements { x, _, n in x.adding(x.rows(n), toRows: n) }
    #expect(
      added[3].contains("update_window_dims = [1], inserted_window_dims = [0]")
        && added[3].hasSuffix("(tensor<2x3xf32>, tensor<4x1xi32>, tensor<4x3xf32>) -> tensor<2x3xf32>"))
  }
}
