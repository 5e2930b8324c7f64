"""From a frozen encoder to honest numbers: features, strict probes, metrics with intervals, tasks, benchmarks, reports."""
