"""Tasks as programs that run without Keras."""
