"""Labelled baseband signals of Wi-Fi, LTE and 5G NR, sent through the ray-traced channels of moving users.

The order of the work: `plan` decides which recordings there are, `ofdm` and `single_carrier` make the signal,
`users` and `channel` let it travel, `receiver` adds noise and level, `folder` writes SigMF recordings.
"""
