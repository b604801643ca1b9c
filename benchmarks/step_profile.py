"""What a step of fine-tuning Model A spends its time on, by torch's profiler, beside the machine's limit.

    python benchmarks/step_profile.py [--write]

The step is that of `make bench`: 64 pictures of 224 pixels through lite2 in memory, with train_a.py's own settings.
Seconds are those of the thread that leads; the profiler adds a little to each.
"""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from clipknight.errors import user_errors
from clipknight.preparation import prepare_process
from clipknight.settings import parse

from machine_limits import measure_limits
from machine_measures import hardware
from marked_tables import table, write_between_marks
from stages.training import FineTuning
from torch.profiler import ProfilerActivity, profile

STEPS = 3
WEIGHT_AT = {"aten::convolution_backward": 2, "aten::mkldnn_convolution": 1}  # among an operator's inputs
KINDS = {
    "aten::convolution_backward": "backward",
    "aten::mkldnn_convolution": "forward",
    "aten::native_batch_norm_backward": "BatchNorm, backward",
    "aten::native_batch_norm": "BatchNorm, forward",
    "aten::hardtanh_backward": "ReLU6",
    "aten::clamp": "ReLU6",
    "aten::_fused_adamw_": "AdamW",
}


@dataclass(frozen=True)
class Settings:
    """Settings of step_profile.py"""

    write: bool = False
    """put the table into benchmarks/README.md"""


@user_errors
def main(argv=None) -> None:
    s = parse(Settings, argv, __doc__)
    prepare_process()
    limits = measure_limits()
    with tempfile.TemporaryDirectory() as folder:
        stage = FineTuning(Path(folder), quick=False)
        stage.ours()  # what is made once
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as measured:
            for _ in range(STEPS):
                stage.ours()
        least = stage.least_seconds(limits)
    seconds = by_kind(measured.key_averages(group_by_input_shape=True))
    total = sum(seconds.values())
    rows = [[kind, f"{spent:.2f}", f"{spent / total:.0%}"] for kind, spent in seconds.most_common()]
    found = [f"On {hardware()}; a step of {stage.items} takes {total:.2f} s, the limit is {least:.2f} s.\n"]
    text = "\n".join([*found, *table(["what", "seconds", "share"], rows)]) + "\n"
    print(f"\n{text}")
    if s.write:
        write_between_marks("step_profile.py", text)


def by_kind(events) -> Counter:
    """Seconds of a step by what they were spent on."""
    seconds = Counter()
    for event in events:
        seconds[kind_of(event.key, event.input_shapes)] += event.self_cpu_time_total / 1e6 / STEPS
    return seconds


def kind_of(operator: str, shapes: list) -> str:
    """What an operator with inputs of these shapes counts as."""
    kind = KINDS.get(operator, "all else")
    if operator not in WEIGHT_AT:
        return kind
    _, inputs, height, _ = shapes[WEIGHT_AT[operator]]
    return f"{'depthwise' if inputs == 1 and height > 1 else 'other'} convolutions, {kind}"


if __name__ == "__main__":
    main()
