"""Files of arrays, and the models and runs in them."""
