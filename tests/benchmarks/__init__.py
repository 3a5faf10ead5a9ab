"""The benchmarks' own judgements: what fails, what regresses, what is told as lost."""
