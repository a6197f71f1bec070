"""What the model is: its config, parameters, inputs and outputs, its reference in float64, and its recipe."""
