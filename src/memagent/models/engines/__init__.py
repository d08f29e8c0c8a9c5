"""What runs a local model's weights: token ids in, token ids out."""
