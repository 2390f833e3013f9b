"""Training networks. PyTorch is allowed here and where models are exported, nowhere else."""
