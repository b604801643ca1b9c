"""The order in which a training takes its rows: shuffled anew each epoch, the same for any number of processes."""

import numpy as np


class EpochBatches:
    """Batches of (epoch, row) in a shuffled order of their own for each epoch; whole batches only. For `batch_sampler`.

    A step takes one batch for each of `processes`: accelerate gives the i-th batch to process i mod `processes`. So
    two processes with batches of 32 see at each step the rows that one process with batches of 64 sees. The epoch
    travels with the row: loader processes keep no state that the training could set.
    """

    drop_last = True

    def __init__(self, rows: int, batch_size: int, seed: int, processes: int = 1):
        self.rows, self.batch_size, self.seed, self.processes = rows, batch_size, seed, processes
        self.step_rows = batch_size * processes
        self.steps = rows // self.step_rows
        self.epoch, self.start = 0, 0
        if not self.steps:
            share = f" for each of {processes} processes" if processes > 1 else ""
            raise ValueError(f"a batch of {batch_size}{share} does not fit {rows} training rows: lower --batch_size")

    def __len__(self) -> int:
        return (self.steps - self.start) * self.processes

    def set_position(self, epoch: int, step: int) -> None:
        """Go on at `step` of `epoch`."""
        self.epoch, self.start = epoch, step

    def order(self) -> np.ndarray:
        """The rows in this epoch's order."""
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)

    def __iter__(self):
        order = self.order()
        for start in range(self.start * self.step_rows, self.steps * self.step_rows, self.batch_size):
            yield [(self.epoch, int(row)) for row in order[start : start + self.batch_size]]
