"""The integer network as data: encoder, layers, prototypes, and the model file."""
