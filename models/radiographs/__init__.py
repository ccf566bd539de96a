"""One radiograph: decoded, measured, preprocessed."""
