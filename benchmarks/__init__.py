"""What a claim about speed is measured with."""
