"""From a frozen encoder to honest numbers: features, strict probes, intervals, tasks, benchmarks and reports."""
