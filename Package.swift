// swift-tools-version: 6.2
import Foundation
import PackageDescription

/// `MINIMIND_PORTABLE=1` builds for any x86-64 or arm64 machine; otherwise for the machine at hand,
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
    dependencies: [.byName(name: room), "TestSupport"] + (room == "Storage" ? [] : ["Storage"]) + imports,
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
    .target(name: "CSimdJSON", linkerSettings: [.linkedLibrary("simdjson")]),
    .target(name: "CEditLine", linkerSettings: [.linkedLibrary("edit")]),
    .systemLibrary(name: "CStorage", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CLibZip", providers: [.apt(["libzip-dev"])]),
    .systemLibrary(name: "CMicroHTTPD", providers: [.apt(["libmicrohttpd-dev"])]),

    // The rooms, each below those that it imports.
    room("Storage", imports: ["CStorage"]),
    room("Compute", imports: oneDNN.map { .byName(name: $0.name) } + ["CKernels"]),
    room("Processes", imports: ["Compute", "CMPI"]),
    room("Tokenization", imports: ["Storage"]),
    room("ModelFiles", imports: ["Storage", "Tokenization", "CLibZip"]),
    room("Transformer", imports: ["Storage", "Compute", "ModelFiles"]),
    // The whole model in plain loops, and the plain twin of every kernel: what the fast ones are tested against.
    room("Reference", imports: ["Transformer"]),
    room("Corpus", imports: ["Storage", "Processes", "Tokenization", "CSimdJSON"]),
    room("Plotting", imports: ["Storage"]),
    room("StructuredOutput", imports: ["Storage", "Tokenization"]),
    room(
      "Training",
      imports: ["Storage", "Compute", "Processes", "Tokenization", "ModelFiles", "Transformer", "Corpus", "Plotting"],
      resources: [.embedInCode("Bridge")]),
    room(
      "Inference",
      imports: ["Storage", "Compute", "Tokenization", "StructuredOutput", "ModelFiles", "Transformer"]),
    room(
      "Evaluation",
      imports: ["Storage", "Compute", "Tokenization", "ModelFiles", "Transformer", "Corpus", "Inference", "Plotting"]),
    room(
      "Serving", imports: ["Storage", "Compute", "Tokenization", "StructuredOutput", "Inference", "CMicroHTTPD"],
      resources: [.embedInCode("Page")]),
    .executableTarget(
      name: "minimind",
      dependencies: [
        "Storage", "Compute", "Processes", "Tokenization", "ModelFiles", "Transformer", "Corpus", "Training",
        "Inference",
        "Evaluation", "CEditLine", "Serving",
      ],
      swiftSettings: swiftSettings),

    // Tests.
    .target(
      name: "TestSupport", dependencies: ["Storage", "Processes", "ModelFiles", "Transformer"],
      path: "Tests/TestSupport",
      swiftSettings: swiftSettings),
    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
    .executableTarget(
      name: "interop-probe",
      dependencies: [
        "Storage", "Compute", "ModelFiles", "Transformer", "Corpus", "Training", "Tokenization", "StructuredOutput",
        "Inference",
      ],
      path: "Tests/InteropProbe", swiftSettings: swiftSettings),
    tests(of: "Storage"),
    tests(of: "Processes"),
    tests(of: "Compute", imports: ["Reference", "CKernels"]),
    tests(of: "Tokenization"),
    tests(of: "ModelFiles", imports: ["Tokenization", "Transformer"]),
    tests(of: "Transformer", imports: ["Compute", "ModelFiles", "Reference"], resources: [.copy("Fixtures")]),
    tests(of: "Reference", imports: ["Transformer"]),
    tests(of: "Corpus", imports: ["Processes", "Tokenization"]),
    tests(
      of: "Training",
      imports: ["AllocationCounter", "Compute", "Processes", "Transformer", "Corpus", "Tokenization", "ModelFiles"]),
    tests(of: "StructuredOutput", imports: ["Tokenization"]),
    tests(
      of: "Inference", imports: ["Compute", "Transformer", "Tokenization", "StructuredOutput", "ModelFiles"]),
    tests(
      of: "Evaluation",
      imports: ["Compute", "Transformer", "Corpus", "Inference", "Tokenization", "ModelFiles", "Plotting"]),
    tests(of: "Serving", imports: ["Inference", "StructuredOutput", "Tokenization"]),
    tests(of: "minimind"),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
