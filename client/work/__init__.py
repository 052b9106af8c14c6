"""What the worker does with images: training, scoring, counting. No key, no line."""
