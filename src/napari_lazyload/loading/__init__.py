"""Reading chunks: the cache, the worker threads, exact boxes, what is loaded. Knows the source protocol, no format."""
