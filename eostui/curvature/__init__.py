"""What is measured at a point: Hessian products, leading eigenpairs, ∇S and the drives."""
