"""Benchmarks: ratios to the fastest known form of the same work, in one run (`make bench`, docs/benchmarks.md)."""
