import Foundation

/// What this process may not have from the system.
package enum ProcessLimits {
  /// Files that are open at once in the commands that open the most, with those of the libraries; measured: 7, and
  /// those that a library opens when it first waits.
  private static let neededFiles = 16

  /// Address space that threads, their stacks and buffers take at least. With less, libdispatch waits for ever for memory
  /// that never comes.
  private static let neededBytes = 64 << 20

  #if os(Linux)
    /// What was to be done before, by the number of the signal. Written before the handler can run, never freed.
    private nonisolated(unsafe) static let formerActions = UnsafeMutablePointer<sigaction>.allocate(capacity: 65)
  #endif

  /// Threads beside one for each core: of the exchange between processes, the scheduler, the server and libraries.
  private static let furtherThreads = 4

  /// - Throws: `ProcessLimitError` when too few files may be open, too little memory is given, or too few threads can be
  ///   started: then a library would end the program, or wait for ever.
  package static func check() throws(ProcessLimitError) {
    let pages = mmap(nil, neededBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let pages, pages != MAP_FAILED else {
      throw ProcessLimitError(
        description:
          "the system gives this process less than \(neededBytes >> 20) MiB more memory. Raise the limit (ulimit -v).")
    }
    munmap(pages, neededBytes)
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors { close(descriptor) } }
    while descriptors.count < neededFiles {
      let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
      if descriptor < 0 {
        guard errno == EMFILE || errno == ENFILE else { return }
        throw ProcessLimitError(
          description:
            "only \(descriptors.count) more files may be open at once and \(neededFiles) may be needed. "
            + "Raise the limit (ulimit -n).")
      }
      descriptors.append(descriptor)
    }
    try checkThreads(Processor.coreCount + furtherThreads)
  }

  /// - Throws: `ProcessLimitError` when fewer than `count` threads can be started at once. A thread of Foundation that
  ///   cannot be started is not reported, and code that shares work with it waits for ever.
  package static func checkThreads(_ count: Int, stackSize: Int = 64 << 10) throws(ProcessLimitError) {
    // Each thread waits for the lock, which is free when all have been started.
    let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    defer { lock.deallocate() }
    pthread_mutex_init(lock, nil)
    pthread_mutex_lock(lock)
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, stackSize)
    var threads: [pthread_t] = []
    while threads.count < count {
      var thread = pthread_t()
      let code = pthread_create(
        &thread, &attributes,
        { lock in
          let lock = lock!.assumingMemoryBound(to: pthread_mutex_t.self)
          pthread_mutex_lock(lock)
          pthread_mutex_unlock(lock)
          return nil
        }, lock)
      if code != 0 { break }
      threads.append(thread)
    }
    pthread_mutex_unlock(lock)
    for thread in threads { pthread_join(thread, nil) }
    pthread_attr_destroy(&attributes)
    pthread_mutex_destroy(lock)
    guard threads.count == count else {
      throw ProcessLimitError(
        description:
          "only \(threads.count) more threads can be started and \(count) may be needed. "
          + "Raise the limit (ulimit -u, or that of the container).")
    }
  }

  /// From now on a crash that comes of refused memory ends with a sentence and exit code 1. The runtime of Swift and the
  /// libraries end the program where `malloc` gives nothing, and there is no error to catch.
  ///
  /// Whether memory was the cause is tried: where the system still gives some, the crash goes its usual way.
  package static func explainRefusedMemory() {
    #if os(Linux)
      for number in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT] {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { number in
          // Calls that are safe in a handler only.
          let size = 16 << 20
          let pages = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
          if pages == MAP_FAILED {
            let sentence: StaticString =
              "error: the system refuses more memory (ulimit -v). Raise the limit, or choose less to do at once.\n"
            _ = write(STDERR_FILENO, sentence.utf8Start, sentence.utf8CodeUnitCount)
            _exit(1)
          }
          munmap(pages, size)
          // Back in the faulty instruction the former handler gets the signal; abort() would end the program without it.
          sigaction(number, ProcessLimits.formerActions + Int(number), nil)
          if number == SIGABRT { raise(number) }
        }
        action.sa_flags = SA_NODEFER | SA_ONSTACK
        sigaction(number, &action, formerActions + Int(number))
      }
    #endif
  }
}

/// A limit of the system under which the program cannot work.
package struct ProcessLimitError: Error, Equatable, CustomStringConvertible {
  package let description: String
}
