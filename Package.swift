// swift-tools-version: 6.2
import Foundation
import PackageDescription

/// `MINIMIND_PORTABLE=1` builds for any x86-64 or arm64 machine; otherwise for the machine that builds,
/// which is what lets `SIMD16<Float>` become one AVX-512 register and `addingProduct` one instruction. A portable build
/// does without oneDNN, too.
let isPortable = ProcessInfo.processInfo.environment["MINIMIND_PORTABLE"] == "1"

let swiftSettings: [SwiftSetting] =
  [.treatAllWarnings(as: .error)]
  + (isPortable ? [] : [.unsafeFlags(["-Xcc", "-march=native"]), .define("MINIMIND_ONEDNN")])
let nativeCode: [CSetting] = isPortable ? [] : [.unsafeFlags(["-march=native"])]

/// A module of the program. Modules may import only what is listed, so the compiler keeps the arrows.
func room(_ name: String, imports: [Target.Dependency] = [], resources: [Resource]? = nil) -> Target {
  .target(name: name, dependencies: imports, resources: resources, swiftSettings: swiftSettings)
}

func tests(of room: String, imports: [Target.Dependency] = [], resources: [Resource]? = nil) -> Target {
  .testTarget(
    name: room + "Tests",
    dependencies: [.byName(name: room)] + imports,
    resources: resources, swiftSettings: swiftSettings)
}

let oneDNN: [Target] =
  isPortable ? [] : [.target(name: "COneDNN", cSettings: nativeCode, linkerSettings: [.linkedLibrary("dnnl")])]

let package = Package(
  name: "MiniMind",
  products: [.executable(name: "minimind", targets: ["minimind"])],
  targets: oneDNN + [
    // C shims: the smallest surface that Swift needs of each library.
    .target(name: "CKernels", cSettings: nativeCode),
    .target(name: "CMPI", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
    .target(name: "CCurl", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
    .target(name: "CPJRT", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
    .target(name: "CSimdJSON", linkerSettings: [.linkedLibrary("simdjson")]),
    .target(
      name: "CDecoding",
      linkerSettings: [.linkedLibrary("z"), .linkedLibrary("zstd"), .linkedLibrary("snappy")]),
    .target(
      name: "CImages",
      linkerSettings: [.linkedLibrary("png"), .linkedLibrary("turbojpeg"), .linkedLibrary("webp")]),
    .systemLibrary(name: "CStorage", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CPCRE2", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CLibZip", providers: [.apt(["libzip-dev"])]),
    .systemLibrary(name: "CMicroHTTPD", providers: [.apt(["libmicrohttpd-dev"])]),

    // The rooms, each below those that it imports.
    room("Storage", imports: ["CStorage"]),
    room("Machine", imports: ["Storage"]),
    room("Model", imports: ["Storage", "Machine"]),
    // The whole model in plain loops, and the plain twin of every kernel, generic over the number type.
    room("Reference", imports: ["Machine", "Model"]),
    room("Processes", imports: ["Machine", "CMPI"]),
    // Chat templates in Jinja, as transformers renders them.
    room("Templates", imports: ["Storage"]),
    room("Tokenization", imports: ["Storage", "Templates", "CPCRE2"]),
    // Pictures, from the bytes of a file to what a tower sees.
    room("Vision", imports: ["Storage", "CImages"]),
    room("ModelFiles", imports: ["Storage", "Model", "Tokenization", "Vision", "CLibZip"]),
    // Elementary functions of sixteen floats, and selection among many: for kernels and for the sampler.
    room("VectorMath", imports: ["CKernels"]),
    room("Compute", imports: oneDNN.map { .byName(name: $0.name) } + ["Machine", "Model", "VectorMath", "CKernels"]),
    room("CPUEngine", imports: ["Machine", "Model", "Compute"]),
    // Computations as values: a graph of operations, its text for compilers, and an interpreter.
    room("Programs", imports: ["Model"]),
    // The transformer as such computations, forward and backward, and an engine for training that runs them.
    room("ProgramEngine", imports: ["Storage", "Machine", "Model", "Programs"]),
    // What compiles and runs them on a device.
    room("PJRT", imports: ["Storage", "Model", "Programs", "CPJRT"], resources: [.embedInCode("attention.cu")]),
    room("StructuredOutput", imports: ["Storage", "Tokenization"]),
    // Tasks whose answers can be checked, and what answers are worth.
    room("Rewards", imports: ["Storage", "Vision", "Tokenization", "StructuredOutput", "CPCRE2"]),
    // Tables in Parquet, as rows.
    room("Parquet", imports: ["CDecoding"]),
    room(
      "Corpus",
      imports: [
        "Storage", "Model", "Processes", "Vision", "Tokenization", "Rewards", "Parquet", "CSimdJSON", "CDecoding",
      ]),
    room("Plotting", imports: ["Storage"]),
    room(
      "Training",
      imports: [
        "Storage", "Machine", "Model", "Processes", "Vision", "Tokenization", "ModelFiles", "Rewards", "Corpus",
        "Plotting",
      ],
      resources: [.embedInCode("Bridge")]),
    room(
      "Generation",
      imports: ["Storage", "Machine", "Model", "VectorMath", "Vision", "Tokenization", "StructuredOutput"]),
    room(
      "Evaluation",
      imports: ["Storage", "Machine", "Model", "VectorMath", "Tokenization", "Rewards", "Corpus", "Plotting"]),
    room(
      "Serving",
      imports: [
        "Storage", "Machine", "Vision", "Tokenization", "StructuredOutput", "Generation", "CMicroHTTPD", "CCurl",
      ],
      resources: [.embedInCode("Page")]),
    .executableTarget(
      name: "minimind",
      dependencies: [
        "Storage", "Machine", "Model", "Compute", "CPUEngine", "Programs", "ProgramEngine", "PJRT", "Processes",
        "Vision", "Tokenization", "ModelFiles", "Rewards", "Corpus", "Training", "Generation", "Evaluation", "Plotting",
        "Serving",
      ],
      swiftSettings: swiftSettings),

    // Tests.
    .target(
      name: "TestSupport", dependencies: ["Storage", "Model", "Processes", "ModelFiles", "Serving"],
      path: "Tests/TestSupport", exclude: ["Fixtures"], swiftSettings: swiftSettings),
    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
    .executableTarget(
      name: "interop-probe",
      dependencies: [
        "Storage", "Model", "Compute", "CPUEngine", "ModelFiles", "Corpus", "Training", "Tokenization",
        "StructuredOutput", "Generation", "Templates", "Vision",
      ],
      path: "Tests/InteropProbe", swiftSettings: swiftSettings),
    tests(of: "Storage", imports: ["TestSupport"]),
    tests(of: "Machine", imports: ["TestSupport"]),
    tests(of: "Processes", imports: ["TestSupport", "Machine"]),
    tests(of: "Model", imports: ["TestSupport"]),
    tests(of: "Reference", imports: ["TestSupport", "Model"]),
    tests(of: "Compute", imports: ["TestSupport", "Machine", "Model", "VectorMath", "Reference", "CKernels"]),
    tests(
      of: "CPUEngine",
      imports: ["TestSupport", "Model", "Compute", "ModelFiles", "Reference", "Programs", "ProgramEngine", "PJRT"]),
    tests(of: "Programs", imports: ["Model"]),
    tests(of: "PJRT", imports: ["TestSupport", "Model", "Programs", "ProgramEngine"]),
    tests(of: "ProgramEngine", imports: ["TestSupport", "Model", "Programs", "Reference"]),
    tests(of: "Tokenization", imports: ["TestSupport", "Storage", "Templates"]),
    tests(of: "Templates", imports: ["TestSupport", "Storage"]),
    tests(of: "Vision", imports: ["TestSupport"]),
    tests(of: "ModelFiles", imports: ["TestSupport", "Storage", "Model", "Tokenization", "Vision"]),
    tests(of: "Parquet", imports: ["TestSupport"]),
    tests(of: "Corpus", imports: ["TestSupport", "Storage", "Model", "Processes", "Vision", "Tokenization"]),
    tests(
      of: "Training",
      imports: [
        "TestSupport", "AllocationCounter", "Storage", "Machine", "Model", "Compute", "CPUEngine", "Reference",
        "Programs", "ProgramEngine", "Processes",
        "Corpus",
        "Tokenization", "ModelFiles", "Rewards", "Generation",
      ]),
    tests(of: "StructuredOutput", imports: ["TestSupport", "Storage", "Tokenization"]),
    tests(of: "Rewards", imports: ["Storage", "Tokenization", "Vision"]),
    tests(
      of: "Generation",
      imports: ["TestSupport", "Model", "Compute", "CPUEngine", "Reference", "Tokenization", "StructuredOutput"]),
    tests(
      of: "Evaluation",
      imports: ["TestSupport", "Model", "Compute", "CPUEngine", "Reference", "Corpus", "Generation", "Tokenization"]),
    tests(
      of: "Serving",
      imports: [
        "TestSupport", "Storage", "Machine", "Model", "Compute", "CPUEngine", "Vision", "Generation",
        "StructuredOutput",
        "Tokenization",
      ]),
    tests(
      of: "minimind",
      imports: [
        "TestSupport", "Storage", "Model", "Compute", "CPUEngine", "Tokenization", "StructuredOutput", "Rewards",
        "ModelFiles",
        "Generation", "Serving",
      ]),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
