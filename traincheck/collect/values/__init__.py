"""What is found in the memory of tensors: fingerprints, ranges and norms."""
