"""How a point moves: gradient descent with weight decay, and the curvature its steps meet."""
