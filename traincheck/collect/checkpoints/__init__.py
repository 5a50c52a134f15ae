"""What is watched of checkpoints: whose tensors a saved or loaded object holds, and what the model held then."""
