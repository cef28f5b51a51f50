"""What all layers are, containers of layers, and the layers without a recurrence."""
