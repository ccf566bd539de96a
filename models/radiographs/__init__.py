"""One radiograph: decoding, measuring, preprocessing."""
