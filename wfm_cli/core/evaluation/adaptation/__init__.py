"""Probes that are trained by gradient descent: attentive, fine-tuned, LoRA, full and from scratch.

All share one optimiser budget (`probe.adapt`), see the same draws of labels as the strict probes, are chosen on
validation and scored once on test. An encoder that is tuned is a copy made for one draw; nothing on disk changes.

samples   batches of a store as an encoder takes them, and its frozen tokens
standardise  what every network starts and ends with
convolution  the residual head of the LWM papers, and networks trained from scratch on raw samples
lora      low-rank additions to query and value projections, found through `encoder.blocks`
networks  encoder and head as one module; which of its parameters train
fit       the optimiser loop with its looks at validation
adapt     one probe on all draws of a label budget
"""
