import CKernels

/// The vector instructions that this build's own kernels use. oneDNN chooses for itself when it runs.
package var kernelInstructions: String { String(cString: ckInstructions()) }
