#if os(Linux)
  import Compute
  import Foundation
  import Model
  import Synchronization
  import TestSupport
  import Testing

  /// What the handler of a signal found: it may touch nothing but atomics.
  private enum Handled {
    static let stackStart = Atomic<UInt>(0)
    static let stackEnd = Atomic<UInt>(0)
    static let signals = Atomic<Int>(0)
    /// Signals whose handler stood elsewhere than on the stack of its thread.
    static let strays = Atomic<Int>(0)
  }

  @Suite(.serialized) struct SignalTests {
    private static let stackBytes = 1 << 20

    /// oneDNN's fp32 kernels point the stack pointer of a thread at memory that they have allocated. A signal at such a
    /// moment would write over what lies before it, which ended training runs at Ctrl-C with a corrupted heap.
    @Test("a signal during a product finds the stack of its thread", arguments: ElementType.allCases)
    func stackDuringProducts(type: ElementType) {
      Handled.signals.store(0, ordering: .relaxed)
      Handled.strays.store(0, ordering: .relaxed)
      let before = signal(SIGUSR2) { _ in
        var here: UInt8 = 0
        let address = withUnsafePointer(to: &here) { UInt(bitPattern: $0) }
        Handled.signals.add(1, ordering: .relaxed)
        let stack = Handled.stackStart.load(ordering: .relaxed)..<Handled.stackEnd.load(ordering: .relaxed)
        if !stack.contains(address) { Handled.strays.add(1, ordering: .relaxed) }
      }
      defer { signal(SIGUSR2, before) }

      let computing = Thread { Self.multiply(type) }
      computing.stackSize = 2 * Self.stackBytes
      computing.start()
      while !computing.isFinished { usleep(1000) }
      #expect(Handled.signals.load(ordering: .relaxed) >= 1000)
      #expect(Handled.strays.load(ordering: .relaxed) == 0)
    }

    /// Products until many signals from another thread have interrupted this one.
    private static func multiply(_ type: ElementType) {
      var here: UInt8 = 0
      let address = withUnsafePointer(to: &here) { UInt(bitPattern: $0) }
      Handled.stackStart.store(address - UInt(stackBytes), ordering: .relaxed)
      Handled.stackEnd.store(address, ordering: .relaxed)

      // Tests run in threads of Dispatch, which hold signals back, and so does what they start.
      var signals = sigset_t()
      sigaddset(&signals, SIGUSR2)
      pthread_sigmask(SIG_UNBLOCK, &signals, nil)

      let isComputing = Mutex(true)
      let target = pthread_self()
      let sender = Thread {
        while isComputing.withLock({ isComputing in
          if isComputing { pthread_kill(target, SIGUSR2) }; return isComputing
        }) { usleep(50) }
      }
      sender.start()

      // Rows further apart than they are long, as the slices of two workers are: which kernel computes depends on it.
      var generator = SeededGenerator(seed: 1)
      func random(_ rows: Int, _ columns: Int) -> GuardedMatrix {
        GuardedMatrix(
          randomFloats(rows * columns, using: &generator), rows: rows, columns: columns, type: type,
          layout: Layout(gap: 64, offset: 0))
      }
      let products = MatrixProducts()
      let (a, aTransposed, b, c) = (random(256, 1024), random(1024, 256), random(1024, 256), random(256, 256))
      while Handled.signals.load(ordering: .relaxed) < 1000 {
        products.multiply(a.view, b.view, into: c.view)
        products.multiply(aTransposed.view, aTransposed: true, b.view, into: c.view, accumulates: true)
      }
      isComputing.withLock { $0 = false }
    }
  }
#endif
