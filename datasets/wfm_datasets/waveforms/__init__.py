"""Labelled baseband signals of Wi-Fi, LTE and 5G NR, sent through the ray-traced channels of moving users.

The order of the work: `plan` decides which recordings there are, `wifi`, `cellular` and `single_carrier` make the
signal, `users` and `channel` let it travel, `receiver` adds noise and level, `make` ties these together, `folder`
writes SigMF recordings.

Length and hop: a recording must outlive the coherence time 9 / (16 pi f_d) of the slowest user of a moving class, else
its motion cannot show; a walker at 0.8 m/s and 3.5 GHz needs 19.2 ms. A spectrogram of 128 frames of 128 samples spans
such a recording at 2.56 MS/s with hop 400 (50,928 of 51,200 samples), so a frame of 50 us is taken every 156 us: fast
enough for the largest Doppler shift of the set, 2.3 kHz at 25 m/s and 28 GHz. The rate holds the three standards whole
in their narrow forms: Wi-Fi at a tenth of its clock (1.7 MHz), LTE in 6 blocks (1.1 MHz), NR in 6 blocks (2.2 MHz).
"""
