"""The tasks that come with wfm, one YAML file each, and their loader."""

from wfm_cli.core.evaluation.tasks.task import RANDOM, Task, load_task, read_tasks, shipped_tasks

__all__ = ["RANDOM", "Task", "load_task", "read_tasks", "shipped_tasks"]
