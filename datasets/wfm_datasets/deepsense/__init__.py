"""DeepSense 6G: scenario folders of synchronised radar, LiDAR, camera, GPS and beam powers."""

from wfm_datasets.deepsense.builder import DeepSenseBuilder as DeepSenseBuilder
