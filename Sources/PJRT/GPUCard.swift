/// A card of NVIDIA's as a plugin needs to know it, to compile programs for one that is not there, with the peaks that its
/// makers publish.
package struct GPUCard: Sendable {
  /// As on the command line: "rtx-3090".
  package let name: String
  /// As the card calls itself.
  package let kind: String
  package let memoryBytes: Int
  /// Bytes a second, of its memory.
  package let bandwidth: Double
  /// Products of bfloat16 with sums of float32, dense: operations a second.
  package let productRate: Double
  private let processors: Int
  private let (sharedBytes, sharedBytesOfBlock, cacheBytes): (Int, Int, Int)
  private let capability: (text: String, fields: String)

  private init(
    _ name: String, _ kind: String, memoryBytes: Int, bandwidth: Double, productRate: Double, processors: Int,
    sharedBytes: Int, sharedBytesOfBlock: Int, cacheBytes: Int, capability: String, fields: String
  ) {
    (self.name, self.kind, self.memoryBytes) = (name, kind, memoryBytes)
    (self.bandwidth, self.productRate, self.processors) = (bandwidth, productRate, processors)
    (self.sharedBytes, self.sharedBytesOfBlock, self.cacheBytes) = (sharedBytes, sharedBytesOfBlock, cacheBytes)
    self.capability = (capability, fields)
  }

  /// Peaks: "NVIDIA H200 Tensor Core GPU" (data sheet); "NVIDIA Ada GPU Architecture" and "NVIDIA Ampere GA102 GPU
  /// Architecture" (white papers, appendix A).
  package static let all = [
    GPUCard(
      "h200", "NVIDIA H200", memoryBytes: 141 * 1_000_000_000, bandwidth: 4.8e12, productRate: 989e12, processors: 132,
      sharedBytes: 233_472, sharedBytesOfBlock: 232_448, cacheBytes: 50 << 20, capability: "9.0a",
      fields: "major: 9 feature_extension: ACCELERATED_FEATURES"),
    GPUCard(
      "rtx-4090", "NVIDIA GeForce RTX 4090", memoryBytes: 24 << 30, bandwidth: 1.008e12, productRate: 165.2e12,
      processors: 128, sharedBytes: 102_400, sharedBytesOfBlock: 101_376, cacheBytes: 72 << 20, capability: "8.9",
      fields: "major: 8 minor: 9"),
    GPUCard(
      "rtx-3090", "NVIDIA GeForce RTX 3090", memoryBytes: 24 << 30, bandwidth: 936e9, productRate: 71e12,
      processors: 82, sharedBytes: 102_400, sharedBytesOfBlock: 101_376, cacheBytes: 6 << 20, capability: "8.6",
      fields: "major: 8 minor: 6"),
  ]

  /// XLA's GpuTargetConfigProto as text. What is the same for all of them is CUDA's limits; the versions are those of the
  /// driver and the libraries that a program is to run with.
  var target: String {
    """
    gpu_device_info {
      threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
      shared_memory_per_block: 49152 shared_memory_per_core: \(sharedBytes)
      shared_memory_per_block_optin: \(sharedBytesOfBlock)
      core_count: \(processors) fpus_per_core: 128 clock_rate_ghz: 1.98
      block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
      thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
      registers_per_core_limit: 65536 registers_per_block_limit: 65536
      memory_bandwidth: \(Int(bandwidth)) l2_cache_size: \(cacheBytes) device_memory_size: \(memoryBytes)
      cuda_compute_capability { \(capability.fields) } device_address_bits: 64
      device_vendor: "NVIDIA Corporation" name: "\(kind)" platform_version: "Compute Capability \(capability.text)"
      driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" dnn_version: "9.12.0"
    }
    platform_name: "CUDA"
    dnn_version_info { major: 9 minor: 12 patch: 0 }
    device_description_str: "\(kind)"
    """
  }
}
