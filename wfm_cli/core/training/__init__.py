"""The training engine: plain torch, one process or many, exact resume.

engine.pretrain   recipe -> run (assembly)
loop.Trainer      steps, validation, checkpoints; knows neither the objective nor where samples come from
step              one optimiser step: sums over micro-batches and ranks, one division, one decision
parallel          alone, DDP or FSDP2 behind one interface
launch            --devices N
"""
