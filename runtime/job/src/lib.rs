//! What a Tidegate program depends on: the typed API, the connectors and the job process.
