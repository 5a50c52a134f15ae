"""The tensors that training is about, the optimizers that hold them, and what of both has changed."""
