from clipknight.devices import pick_precision

import pytest
import torch


@pytest.mark.parametrize("native, precision", [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_that_only_emulates_bf16_takes_fp16(monkeypatch, native, precision):
    """As a T4 does, of which torch says by default that it has bf16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert pick_precision("auto", torch.device("cuda")) == precision
