import Storage

/// The fields of a request's JSON object, each read with a check of its type and range.
///
/// A field that is null counts as absent. Fields that the server does not know are accepted, as clients send many.
package struct RequestFields {
  let object: JSON

  /// - Throws: `APIError` when the body is not a JSON object.
  package init(body: [UInt8]) throws(APIError) {
    let parsed: Result<JSON, JSONError> = body.withUnsafeBytes { bytes in
      do throws(JSONError) { return .success(try JSON(parsing: bytes)) } catch { return .failure(error) }
    }
    switch parsed {
    case .success(let json) where json.isObject: object = json
    case .success: throw APIError.invalid(nil, "The body must be a JSON object.")
    case .failure(let error): throw APIError.invalid(nil, "The body is \(error.description).")
    }
  }

  init(_ object: JSON) { self.object = object }

  subscript(name: String) -> JSON? {
    guard let value = object[name], !value.isNull else { return nil }
    return value
  }

  func string(_ name: String) throws(APIError) -> String? {
    guard let value = self[name] else { return nil }
    guard let text = value.stringValue else { throw APIError.invalid(name, "'\(name)' must be a string.") }
    return text
  }

  func bool(_ name: String) throws(APIError) -> Bool? {
    guard let value = self[name] else { return nil }
    guard let bool = value.boolValue else { throw APIError.invalid(name, "'\(name)' must be true or false.") }
    return bool
  }

  func integer(_ name: String, in range: ClosedRange<Int>) throws(APIError) -> Int? {
    guard let value = self[name] else { return nil }
    guard let number = value.integerValue else { throw APIError.invalid(name, "'\(name)' must be a whole number.") }
    guard range.contains(number) else {
      let limits =
        range.upperBound == Int.max
        ? "at least \(range.lowerBound)" : "between \(range.lowerBound) and \(range.upperBound)"
      throw APIError.invalid(name, "'\(name)' is \(number); it must be \(limits).")
    }
    return number
  }

  func number(_ name: String, in range: ClosedRange<Double>) throws(APIError) -> Float? {
    guard let value = self[name] else { return nil }
    guard let number = value.doubleValue else { throw APIError.invalid(name, "'\(name)' must be a number.") }
    guard range.contains(number) else {
      throw APIError.invalid(
        name, "'\(name)' is \(number); it must be between \(range.lowerBound) and \(range.upperBound).")
    }
    return Float(number)
  }

  /// The fields of an object inside this one.
  func fields(_ name: String) throws(APIError) -> RequestFields? {
    guard let value = self[name] else { return nil }
    guard value.isObject else { throw APIError.invalid(name, "'\(name)' must be an object.") }
    return RequestFields(value)
  }

  /// A list with at least one member.
  func list(_ name: String, limit: Int) throws(APIError) -> [JSON]? {
    guard let value = self[name] else { return nil }
    guard let values = value.arrayValue, !values.isEmpty else {
      throw APIError.invalid(name, "'\(name)' must be a list that is not empty.")
    }
    guard values.count <= limit else {
      throw APIError.invalid(name, "'\(name)' has \(values.count) members; \(limit) are the most.")
    }
    return values
  }

  /// Refuses a field for something that this server does not do, unless its value turns it off.
  func refuse(_ name: String, unless harmless: (JSON) -> Bool, _ reason: String) throws(APIError) {
    guard let value = self[name], !harmless(value) else { return }
    throw APIError.unsupported(name, "'\(name)' is not supported: \(reason)")
  }
}

extension JSON {
  var isObject: Bool { if case .object = self { true } else { false } }

  /// A list of tokens; nil when this is something else.
  var tokens: [Int]? {
    guard let values = arrayValue, !values.isEmpty else { return nil }
    let numbers = values.compactMap(\.integerValue)
    return numbers.count == values.count ? numbers : nil
  }
}
