"""What a model says of one image, and where it looked."""
