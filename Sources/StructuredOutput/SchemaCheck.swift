import Storage

/// Whether JSON that a model has written freely is valid by a schema.
package enum SchemaCheck {
  /// - Returns: nil where a keyword of the schema cannot be decided.
  package static func isValid(_ value: JSON, _ schema: JSON) -> Bool? {
    var compiler = SchemaCompiler(schema, place: "schema")
    let root = compiler.schema(schema, "#")
    return compiler.isValid(value, root)
  }

  /// - Throws: why no answer can be held to the schema.
  package static func verify(_ schema: JSON) throws(StructuredOutputError) {
    try SchemaCompiler.checkSize([schema], place: "schema")
    _ = try SchemaCompiler.grammar(schema, place: "schema")
  }
}
