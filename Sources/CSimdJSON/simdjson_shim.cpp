// The JSON shim lands with the Corpus module.
