"""Models: providers, endpoints, routes, completions and embeddings."""
