"""Single-pass inference in stock runtimes: what a graph computes, its builders, its proof."""
