"""What people look at: tables, pictures, TensorBoard. It takes plain results, and runs nothing."""
