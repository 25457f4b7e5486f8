import Compute
import Model

/// The matrices of an adapter inside a block that is laid out by its table: weights or gradients.
struct LoRAViews {
  /// One adapted linear layer at a site.
  struct Adapter {
    /// [outputs, rank]
    let b: MatrixView
    /// Its columns of the site's base product, and of the product with all A.
    let outputs: Range<Int>
    let hidden: Range<Int>
  }

  struct Site {
    /// [adapters · rank, inputs]
    let a: MatrixView
    let adapters: [Adapter]
  }

  /// By layer; none where nothing is adapted.
  private let sites: [[LoRAPlace: Site]]

  subscript(layer: Int, place: LoRAPlace) -> Site? { sites[layer][place] }

  init(_ base: UnsafeMutableRawPointer, _ type: ElementType, _ adapter: LoRAAdapter) {
    let (configuration, model, table) = (adapter.configuration, adapter.model, adapter.table)
    func matrix(_ key: String, rows: Int, columns: Int) -> MatrixView {
      MatrixView(base + table.offset(key) * type.byteCount, rows: rows, columns: columns, type: type)
    }
    func site(_ place: LoRAPlace, _ layer: Int) -> Site? {
      var adapters: [Adapter] = []
      var output = 0
      for target in place.site.targets {
        let outputs = output..<output + target.outputCount(model, place.block)
        output = outputs.upperBound
        guard configuration.targets.contains(target) else { continue }
        let first = adapters.count * configuration.rank
        adapters.append(
          Adapter(
            b: matrix(
              LoRAKey.b(target.weightKey(layer, model, place.block)), rows: outputs.count, columns: configuration.rank),
            outputs: outputs, hidden: first..<first + configuration.rank))
      }
      guard let first = place.site.targets.first(where: configuration.targets.contains) else { return nil }
      return Site(
        a: matrix(
          LoRAKey.a(first.weightKey(layer, model, place.block)), rows: adapters.count * configuration.rank,
          columns: place.inputCount(model)), adapters: adapters)
    }
    let places = model.loraPlaces
    sites = (0..<model.layerCount).map { layer in
      Dictionary(uniqueKeysWithValues: places.compactMap { place in site(place, layer).map { (place, $0) } })
    }
  }
}
