"""What is watched of torch.distributed: groups, collectives, transfers and their handles."""
