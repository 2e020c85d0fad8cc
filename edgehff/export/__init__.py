"""Single-pass inference in stock runtimes: what a graph computes, its builders, and the proof of each file."""
