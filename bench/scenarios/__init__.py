"""What is measured: for each scenario its load (in the generators) and its run (in the parent)."""
