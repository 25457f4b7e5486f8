func referencePlaceholder() {}
