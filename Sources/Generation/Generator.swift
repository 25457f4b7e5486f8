import Model
import Tokenization

/// Continues a text token by token: a sequence of events that ends after `.end`.
///
///     for event in try Generator(model, tokenizer, request) { … }
///
/// Texts are whole characters. A generator that is released before its end cancels its generation.
package final class Generator: Sequence, IteratorProtocol {
  private let engine: BatchEngine
  private let events = EventQueue()

  /// - Parameter engine: idle. Pages that it has kept of the prompt's beginning are not computed again.
  package init(_ engine: BatchEngine, _ request: GenerationRequest) {
    precondition(!engine.hasWork, "a generator on an engine that is at work")
    self.engine = engine
    engine.generate(request, id: 0) { [events] in events.waiting.append($0) }
  }

  /// - Throws: `OutOfMemoryError`.
  package convenience init(_ model: any InferenceEngine, _ tokenizer: Tokenizer, _ request: GenerationRequest) throws {
    self.init(try BatchEngine(model, tokenizer), request)
  }

  deinit { engine.cancel(0) }

  package func next() -> GenerationEvent? {
    while events.waiting.isEmpty && engine.hasWork { engine.step() }
    return events.waiting.isEmpty ? nil : events.waiting.removeFirst()
  }
}

/// Events that were not asked for yet.
private final class EventQueue {
  var waiting: [GenerationEvent] = []
}
