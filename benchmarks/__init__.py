"""Side-by-side runs against peers: benchmarks, never tests."""
