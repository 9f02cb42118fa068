"""What Lightning users have around them works with acro, or says clearly why not."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import drawing_envs  # noqa: F401 - registers them
import lightning as L
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.tuner.tuning import Tuner
from runs import SMALL, differences, last_checkpoint, train

from acro import DQN, Experience, fit
from acro.callbacks.curve import LearningCurve
from acro.callbacks.gif import RenderGif
from acro.callbacks.tensorboard import Events
from acro.play import main as play

CARTPOLE: dict[str, Any] = {"env_id": "CartPole-v1"}
STEPS = SMALL["steps_per_epoch"]
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def rows(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


# ---- loggers


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path_factory.mktemp("tensorboard")
    logger = TensorBoardLogger(folder, default_hp_metric=False)
    callbacks = (RenderGif(every_n_epochs=1), LearningCurve())
    train(folder, epochs=2, logger=logger, log_every_n_steps=1, callbacks=callbacks, **CARTPOLE)
    accumulator = EventAccumulator(logger.log_dir)
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_scalars_over_environment_steps(events: Any) -> None:
    assert [event.step for event in events.Scalars("eval/return")] == [STEPS, 2 * STEPS]
    scalars = set(events.Tags()["scalars"])
    assert {"eval/return_median", "train/return", "train/td_error", "train/epsilon", "train/learning_rate"} <= scalars
    assert {"train/loss", "train/grad_norm", "train/q_mean", "train/q_max"} <= scalars
    seconds = [event.value for event in events.Scalars("time/seconds")]
    rates = [event.value for event in events.Scalars("time/steps_per_second")]
    assert 0 < seconds[0] < seconds[1]
    assert rates == pytest.approx([STEPS / seconds[0], 2 * STEPS / seconds[1]], rel=0.01)


@pytest.mark.parametrize("backend", ["torch", "rust"])
def test_values_that_are_logged_are_those_of_the_taken_actions(backend: str, tmp_path: Path) -> None:
    class Watched(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
            assert isinstance(pl_module, DQN)
            if len(rest[1].rewards):
                batch = rest[1].unbind()[-1]
                # After the last step of a learning rate next to nothing the network is what it was before.
                taken = pl_module.q_network(batch.obs).gather(1, batch.actions.unsqueeze(1)).detach()
                self.expected = float(taken.mean()), float(taken.max())

    watched = Watched()
    model = {"backend": backend, "learning_rate": 1e-9}
    train(
        tmp_path,
        epochs=1,
        model=model,
        callbacks=(watched,),
        logger=CSVLogger(tmp_path),
        log_every_n_steps=1,
        **CARTPOLE,
    )

    (row,) = rows(tmp_path)
    assert (float(row["train/q_mean"]), float(row["train/q_max"])) == pytest.approx(watched.expected, rel=1e-4)


def test_tensorboard_has_the_gif_and_the_curve(events: Any) -> None:
    gifs = events.Images("policy")

    assert [gif.step for gif in gifs] == [STEPS, 2 * STEPS]
    assert all(gif.encoded_image_string.startswith(b"GIF89a") for gif in gifs)
    assert gifs[0].width == 300
    assert events.Images("progress")[0].encoded_image_string.startswith(b"GIF89a")
    assert events.Images("learning_curve")[0].encoded_image_string.startswith(b"\x89PNG")


def test_tensorboard_has_the_hyperparameters_with_the_held_out_return(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    logger = Events(tmp_path, default_hp_metric=False)
    trainer = L.Trainer(
        max_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=[LearningCurve()],
        **{**QUIET, "logger": logger},
    )
    module, experience = DQN(4, 2), Experience("CartPole-v1", **SMALL)
    trainer.fit(module, experience)
    (tested,) = trainer.test(module, experience, verbose=False)
    events = EventAccumulator(logger.log_dir)
    events.Reload()

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hyperparameters = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hyperparameters["learning_rate"].number_value == 1e-3
    assert hyperparameters["env_id"].string_value == "CartPole-v1"
    assert [event.value for event in events.Scalars("hp_metric")] == pytest.approx([tested["test/return"]])
    settings = yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text())
    assert settings["hidden"] == [128, 128]


def test_lightnings_csv_logger_has_a_row_per_evaluation(tmp_path: Path) -> None:
    train(tmp_path, epochs=2, logger=CSVLogger(tmp_path), log_every_n_steps=1, **CARTPOLE)

    assert [(row["step"], row["eval/return"] != "") for row in rows(tmp_path)] == [("128", True), ("256", True)]


def test_weights_and_biases_offline_has_the_metrics_and_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    # Lightning gives it an argument that it warns about.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = WandbLogger(save_dir=tmp_path, offline=True, project="acro")
        callbacks = (RenderGif(every_n_epochs=1), LearningCurve())
        train(tmp_path, epochs=2, logger=logger, log_every_n_steps=1, callbacks=callbacks, **CARTPOLE)
        summary = dict(logger.experiment.summary)
        logger.experiment.finish()

    assert summary["trainer/global_step"] == 2 * STEPS
    assert summary["eval/return"] > 0
    media = [path.name for path in tmp_path.rglob("media/*/*")]
    assert sorted(name.rsplit("_", 2)[0] for name in media) == ["learning_curve", "policy", "policy", "progress"]


# ---- callbacks


def test_early_stopping_ends_a_solved_run(tmp_path: Path) -> None:
    stop = EarlyStopping("eval/return", mode="max", stopping_threshold=1.0, check_on_train_epoch_end=False)

    _, experience = train(tmp_path, epochs=5, callbacks=(stop,), **CARTPOLE)

    assert experience.env_steps == STEPS


def test_learning_rate_monitor_logs_the_schedule(tmp_path: Path) -> None:
    model = {"learning_rate": 1e-3, "learning_rate_end": 1e-4, "learning_rate_decay_updates": 160}
    logging: dict[str, Any] = {
        "logger": CSVLogger(tmp_path),
        "log_every_n_steps": 1,
        "callbacks": (LearningRateMonitor("step"),),
    }

    train(tmp_path, epochs=3, model=model, **logging, **CARTPOLE)

    rates = [float(row["lr-FlatAdam"]) for row in rows(tmp_path) if row["lr-FlatAdam"]]
    # 8 updates in each of the 20 rounds after learning starts; a round's rate is logged before it.
    expected = [1e-3 - 0.9e-3 * 8 * max(0, learning_round) / 160 for learning_round in range(-4, 20)]
    assert rates == pytest.approx(expected)


def test_model_checkpoint_follows_a_monitor_of_the_users(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path / "best", monitor="eval/return_min", mode="max", filename="{step}")

    train(tmp_path, epochs=3, callbacks=(checkpoint,), **CARTPOLE)

    assert checkpoint.best_model_score is not None
    found = DQN.load_from_checkpoint(checkpoint.best_model_path)
    assert isinstance(found, DQN)


def test_moving_average_of_weights_leaves_training_as_it_is_and_is_saved(tmp_path: Path) -> None:
    for name, callbacks in {"without": (), "with": (EMAWeightAveraging(decay=0.9),)}.items():
        (tmp_path / name).mkdir()
        train(tmp_path / name, epochs=2, callbacks=callbacks, **CARTPOLE)
    without, averaged = last_checkpoint(tmp_path / "without"), last_checkpoint(tmp_path / "with")

    assert differences(without["Experience"], averaged["Experience"]) == []
    assert differences(without["state_dict"], averaged["current_model_state"]) == []
    assert differences(without["state_dict"], averaged["state_dict"]) != []


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (StochasticWeightAveraging(1e-2), "StochasticWeightAveraging does not work with DQN: its average is neither"),
        (LearningRateFinder(), "LearningRateFinder does not work with DQN: it reads the loss"),
        (BatchSizeFinder(), "BatchSizeFinder does not work with DQN: it looks for what fits in memory"),
    ],
)
def test_callback_that_would_be_of_no_use_is_refused(callback: L.Callback, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        train(tmp_path, epochs=2, callbacks=(callback,), **CARTPOLE)


@pytest.mark.parametrize(
    ("search", "name"), [("lr_find", "LearningRateFinder"), ("scale_batch_size", "BatchSizeFinder")]
)
def test_tuner_is_refused(search: str, name: str, tmp_path: Path) -> None:
    experience = Experience("CartPole-v1", **SMALL)
    trainer = L.Trainer(max_epochs=1, default_root_dir=tmp_path, **QUIET)

    with pytest.raises(ValueError, match=f"{name} does not work with DQN"):
        getattr(Tuner(trainer), search)(DQN(4, 2), datamodule=experience)

    assert experience.batch_size == SMALL["batch_size"]


@pytest.mark.parametrize(("lower", "state"), [(1e9, "PRUNED"), (0.0, "COMPLETE")])
def test_optuna_prunes_runs(lower: float, state: str, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        prune = integration.PyTorchLightningPruningCallback(trial, monitor="eval/return")
        model = {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)}
        module, _ = train(tmp_path, epochs=2, model=model, callbacks=(prune,), **CARTPOLE)
        assert module.last_evaluation is not None
        return module.last_evaluation.mean

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.ThresholdPruner(lower=lower)
    )
    study.optimize(objective, n_trials=1)

    assert [trial.state.name for trial in study.trials] == [state]


# ---- the Trainer without training


def test_validate_and_test_play_with_a_loaded_module(tmp_path: Path) -> None:
    train(tmp_path, epochs=1, **CARTPOLE)
    trainer, experience = L.Trainer(**QUIET), Experience("CartPole-v1", eval_episodes=4)
    module = DQN.load_from_checkpoint(tmp_path / "last.ckpt")

    (validated,) = trainer.validate(module, experience, verbose=False)
    (tested,) = trainer.test(module, experience, verbose=False)

    assert validated["eval/return"] > 0
    assert module.last_evaluation is not None
    assert len(module.last_evaluation.returns) == 4
    assert tested["test/return"] == pytest.approx(module.last_evaluation.mean)


# ---- taking the network elsewhere


@pytest.mark.parametrize("dueling", [False, True])
def test_exported_program_gives_the_same_values(dueling: bool) -> None:
    module = DQN(4, 2, dueling=dueling).eval()
    obs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))

    program = torch.export.export(module, (obs[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))

    torch.testing.assert_close(program.module()(obs), module(obs))


@pytest.mark.parametrize(
    ("shape", "dtype", "head"),
    [
        ((4,), "float32", "value"),
        ((4,), "float32", "quantile"),
        ((2, 40, 40), "uint8", "value"),
        ((10, 10, 4), "bool", "categorical"),
    ],
    ids=str,
)
def test_onnx_gives_the_same_values(tmp_path: Path, shape: tuple[int, ...], dtype: str, head: Any) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    size = torch.Size(shape).numel()
    settings: dict[str, Any] = {"head": head, "return_range": (0.0, 10.0)}
    module = DQN(size, 2, dueling=True, observation_shape=shape, observation_dtype=dtype, **settings).eval()
    obs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    obs = obs if dtype == "float32" else (100 * obs.abs()).to(getattr(torch, dtype))

    # The exporter warns of what it itself still uses, differently in every release of PyTorch.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.to_onnx(
            tmp_path / "q.onnx",
            input_names=["obs"],
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )

    session = onnxruntime.InferenceSession(str(tmp_path / "q.onnx"))
    (values,) = session.run(None, {"obs": obs.numpy()})
    np.testing.assert_allclose(values, module(obs).detach().numpy(), rtol=1e-5, atol=1e-6)


# ---- code of the user's own

OWN_CODE = """
import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import FrameStackObservation, TransformReward
from torch import nn


def make(render_mode=None):
    env = TransformReward(CartPoleEnv(render_mode=render_mode), lambda reward: 2.0 * reward)
    return FrameStackObservation(env, 3)


gymnasium.register("own/Cart-v0", entry_point=make, max_episode_steps=20)


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, obs):
        return self.layers(obs)
"""


@pytest.fixture
def own_code(tmp_path: Path) -> Path:
    (tmp_path / "own_code.py").write_text(OWN_CODE)
    return tmp_path


def test_own_network_and_wrapped_environment_from_python(own_code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(own_code)
    import own_code as own  # type: ignore[import-not-found]

    callbacks = (RenderGif(every_n_epochs=1), LearningCurve())
    module, experience = train(
        own_code,
        epochs=2,
        env_id="own_code:own/Cart-v0",
        data={"env_kwargs": None},
        model={"network": own.Net(), "observation_shape": (3, 4)},
        callbacks=callbacks,
    )

    assert experience.observation_space.shape == (3, 4)
    assert experience.collector is not None
    assert set(experience.collector.episodes.returns) <= {2.0 * steps for steps in range(1, 21)}
    assert module.updates > 0
    assert (own_code / "progress.gif").is_file()


def test_own_network_and_wrapped_environment_from_the_command_line(
    own_code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env_id = "own_code:own/Cart-v0"
    small = [f"--data.{name}={value}" for name, value in SMALL.items()]
    monkeypatch.chdir(own_code)
    monkeypatch.syspath_prepend(own_code)
    own = [f"--data.env_id={env_id}", "--model.network=own_code.Net"]
    assert fit.main([*own, *small, "--gif=false", "--trainer.max_epochs=1"]) == 0
    (checkpoint,) = own_code.glob("runs/*/version_0/checkpoints/last.ckpt")
    capsys.readouterr()

    assert play([str(checkpoint), "--env_id", env_id, "--network", "own_code:Net", "--episodes", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"{env_id} · 3 greedy episodes, from reset(seed=0) to reset(seed=2)\n")
