"""Tables, figures and TensorBoard charts of plain results; nothing here runs a network."""
