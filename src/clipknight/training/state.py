"""A training's state: model, optimizer, schedule, averaged weights and place in the data, which make a resume exact."""

import math
from collections.abc import Iterator

from clipknight.files import atomic_file
from clipknight.processes import in_main_process
from clipknight.saved_files import read_checkpoint
from clipknight.training.learning_rates import warmed_up_adamw
from clipknight.training.mixed_precision import mixed, train_depthwise_in_fp32
from clipknight.training.runs import Run
from clipknight.training.tracking import Tracking

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

START = -1  # the epoch in which nothing is learnt: the model is scored as it starts
CLIP_NORM = 1.0


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep the pretrained running statistics: a small batch would spoil them. Call after `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class TrainingState:
    """What a training goes on from, and its loop:

        for epoch in state.epochs():
            for pixels, rows in state.batches():
                state.learn(loss(state.forward(pixels), targets[rows]))
            if state.log(avg_cos=score_of(state.averaged)):
                save it as the best

    `position` is the (epoch, step) to do next. No generator is saved: torch's is seeded anew at every step. Unless
    `score_start` is off, the epochs of a new training begin with START, without a batch: a training that harms leaves
    its start as the best. `loader` follows EpochBatches; `s` are a script's settings; `score` names the number, of
    those given to `log`, that the best epoch has most of.
    """

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        groups: list[dict],
        loader: DataLoader,
        s,
        precision: torch.dtype,
        score: str,
        score_start: bool = True,
    ):
        self.accelerator = Accelerator(
            cpu=next(model.parameters()).device.type == "cpu",
            mixed_precision=mixed(precision),
            gradient_accumulation_steps=getattr(s, "accumulate", 1),
        )
        self.run, self.settings, self.score, self.order = run, s, score, loader.batch_sampler
        self.model = model.to(self.accelerator.device)
        if self.accelerator.device.type == "cpu" and precision != torch.float32:
            train_depthwise_in_fp32(self.model)
        self.epoch_steps = math.ceil(self.order.steps / self.accelerator.gradient_accumulation_steps)
        self.optimizer, self.schedule = warmed_up_adamw(groups, self.epoch_steps * s.epochs, s.warmup)
        # Warm-up lets a short run's average forget its start: 0.9998 alone would remember it for 5,000 steps.
        self.ema = ModelEmaV3(self.model, s.ema, use_warmup=True) if s.ema else None
        # Frozen layers stay what the encoder was loaded with: they need no saving. Statistics may be a new head's.
        kept = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        kept |= {name for name, _ in model.named_buffers()}
        self.kept = [name for name in model.state_dict() if name in kept]
        self.steps_done, self.position = 0, (START if score_start else 0, 0)
        self.batch_loss = 0.0  # of the last batch, the mean over all processes
        self.epoch_loss = 0.0  # sum over the epoch's steps so far, each the mean over all processes
        if run.goes_on(s):
            self.load()
        run.forget_events_after(epoch=self.position[0] - 1)
        self.best = max((event[score] for event in run.events()), default=float("-inf"))
        self.saved_at = self.steps_done
        self.tracking = Tracking(run, getattr(s, "track", "none"), self.steps_done)
        self.wrapped, self.optimizer, self.loader = self.accelerator.prepare(self.model, self.optimizer, loader)

    @property
    def averaged(self) -> nn.Module:
        """The model to evaluate and save: the EMA where there is one."""
        return self.ema.module if self.ema else self.model

    def epochs(self) -> Iterator[int]:
        """The epochs that are left. After each, what resumes the training is saved."""
        for epoch in range(self.position[0], self.settings.epochs):
            yield epoch
            self.epoch_loss, self.position = 0.0, (epoch + 1, 0)
            if epoch != START:
                self.save()
        self.tracking.finish()

    def batches(self) -> Iterator:
        """What is left of this epoch's batches, this process's share of them, on its device."""
        epoch, step = self.position
        if epoch == START:
            return
        self.order.set_position(epoch, step)
        title, left = f"epoch {epoch + 1}/{self.settings.epochs}", self.order.steps - step
        silent = not in_main_process()
        with tqdm(enumerate(self.loader, step), total=left, desc=title, unit="batch", disable=silent) as bar:
            for step, batch in bar:
                self.wrapped.train()
                freeze_batch_norm(self.wrapped)
                torch.manual_seed(self._seed(epoch, step))
                with self.accelerator.accumulate(self.wrapped):
                    yield batch
                bar.set_postfix(loss=f"{self.epoch_loss / (step + 1):.4f}", refresh=False)
                self.position = (epoch, step + 1)
                if self.steps_done - self.saved_at >= self.settings.save_every:
                    self.save()

    def _seed(self, epoch: int, step: int) -> int:
        """Of what is drawn at a step; each process draws its own."""
        accelerator, steps = self.accelerator, epoch * self.order.steps + step
        return self.settings.seed * 1_000_003 + steps * accelerator.num_processes + accelerator.process_index

    def forward(self, *inputs):
        """What the model gives, in the training's precision, as float32."""
        return self.wrapped(*inputs)

    def share(self, count: Tensor) -> Tensor:
        """This process's `count`, where their mean is 1: what to weight a mean over so many by."""
        return count / self.accelerator.reduce(count.float(), "mean")

    def learn(self, loss: Tensor) -> None:
        """Go down the gradient of a batch's mean `loss`, together with the other processes and accumulated batches."""
        self.accelerator.backward(loss)
        self.batch_loss = self.accelerator.reduce(loss.detach(), "mean").item()
        self.epoch_loss += self.batch_loss
        if self.accelerator.sync_gradients:
            self.step()

    def step(self) -> None:
        """One optimizer step from the gradients at hand. fp16 leaves out a step whose gradients overflow."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.accelerator.clip_grad_norm_(trained, CLIP_NORM)
        scale = self._scale()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._scale() < scale:  # it was left out, which accelerate does not see of a fused optimizer
            return
        self.steps_done += 1
        self.tracking.log({"batch_loss": self.batch_loss, "rate": max(self.schedule.get_last_lr())}, self.steps_done)
        self.schedule.step()
        if self.ema:
            self.ema.update(self.model, step=self.steps_done)

    def _scale(self) -> float:
        """By which fp16 multiplies the loss; it is lowered where gradients overflow."""
        return self.accelerator.scaler.get_scale() if self.accelerator.scaler else 1.0

    def log(self, **event) -> bool:
        """Log the epoch's scores, with its loss; True where its weights are to be kept as the best so far."""
        epoch = self.position[0]
        loss = {} if epoch == START else {"loss": self.epoch_loss / self.order.steps}
        self.run.log(epoch=epoch, **loss, **event)
        self.tracking.log({**loss, **event}, self.steps_done)
        risen = event[self.score] > self.best
        self.best = max(self.best, event[self.score])
        return risen and in_main_process()

    def save(self) -> None:
        """Write what `load` reads, in the main process."""
        self.saved_at = self.steps_done
        if not in_main_process():
            return
        state = {
            "model": self._kept_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self._kept_of(self.ema.module) if self.ema else None,
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
            "progress": (self.steps_done, self.position, self.best),
            "rows": self.order.rows,
            "processes": self.order.processes,
            "epoch_loss": self.epoch_loss,
        }
        with atomic_file(self.run.last_state) as temporary:
            torch.save(state, temporary)

    def load(self) -> None:
        """Take over what the run saved last. Runs saved before 0.4.0 have neither scaler nor rows nor processes."""
        remedy = "begin anew, with --overwrite in place of --resume"
        state = read_checkpoint(self.run.last_state, remedy)
        if (rows := state.get("rows", self.order.rows)) != self.order.rows:
            raise ValueError(
                f"{self.run.last_state} has learnt from {rows:,} training rows, and there are {self.order.rows:,} now: "
                f"have the same images and captions as then, or {remedy}"
            )
        try:
            self.model.load_state_dict(state["model"], strict=False)
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            if self.ema:
                self.ema.module.load_state_dict(state["ema"], strict=False)
            if self.accelerator.scaler and state.get("scaler"):
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.steps_done, self.position, _ = state["progress"]
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:  # torch's, for what does not fit
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"{self.run.last_state} does not fit this training ({reason}): {remedy}") from error
        self.epoch_loss = state.get("epoch_loss", 0.0)
        if (processes := state.get("processes", self.order.processes)) != self.order.processes:
            self._regroup(processes, remedy)

    def _regroup(self, processes: int, remedy: str) -> None:
        """Go on after an epoch of so many processes with as many as there are. ValueError in the middle of one.

        Each process takes as many rows a step as before: an epoch has more steps, or fewer, and the schedule goes on
        where it would be after as many epochs of these.
        """
        epoch, step = self.position
        now = self.order.processes
        if step:
            raise ValueError(
                f"{self.run.last_state} is of {processes} processes in the middle of an epoch, now there are {now}: "
                f"start {processes} again, others can go on once the epoch is done; or {remedy}"
            )
        self.steps_done = epoch * self.epoch_steps
        self.schedule.last_epoch = self.steps_done - 1
        self.schedule.step()
        if in_main_process():
            print(f"from epoch {epoch + 1} on, processes: {now} in place of {processes}")

    def _kept_of(self, model: nn.Module) -> dict[str, Tensor]:
        tensors = model.state_dict()
        return {name: tensors[name] for name in self.kept}
