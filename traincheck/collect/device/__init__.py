"""Values on a GPU: read or copied there as a sweep comes by, fetched when rows are written; no step waits."""
