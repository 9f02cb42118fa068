"""Reports the result of a run, the returns of held-out episodes, as a line and as result.json."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from acro.callbacks.run import is_dry_run
from acro.cli.runs import comparable_settings
from acro.cli.versions import versions
from acro.envs.facts import reward_threshold
from acro.evaluation import Evaluation
from acro.formatting import format_mean, format_return
from acro.storage.files import replacing

if TYPE_CHECKING:
    from acro.cli.parser import FitCLI

logger = logging.getLogger("acro")


def play_held_out(cli: FitCLI, seconds: float) -> str:
    """Play the best checkpoint from held-out starts, and write the result.

    Args:
        cli: The finished run.
        seconds: The time that this process took.

    Returns:
        The result in one line.
    """
    run, model, experience = cli.run, cli.model, cli.datamodule
    best = run.best_checkpoint if run.best_checkpoint.is_file() else None
    cli.trainer.test(model, datamodule=experience, ckpt_path=best, weights_only=True, verbose=False)
    evaluation, threshold = model.last_evaluation, reward_threshold(experience.eval_env)
    step = solved_step(threshold, cli.curve.evaluations)
    facts = {"env_id": str(experience.env_id), "steps": experience.env_steps, "seconds": seconds}
    facts |= {"solved_return": threshold, "solved_step": step}
    facts["at_limit"] = int(evaluation.truncated.sum())
    line = f"{describe(evaluation)}{describe_solved(threshold, step)}"
    if is_dry_run(cli.trainer):
        return line
    try:
        write_result(run.result, evaluation, yaml.safe_load(cli.config_text), **facts)
    except OSError as error:
        logger.warning("cannot write %s: %s", run.result, error)
    return f"{line}; {run.folder}"


def describe(evaluation: Evaluation) -> str:
    """Return an evaluation in one line."""
    returns = evaluation.returns
    return (
        f"eval: mean {_describe_mean(evaluation)}, median {format_return(float(np.median(returns)))}, "
        f"worst {format_return(float(returns.min()))} over {_count(len(returns), 'episode')}"
    )


def _describe_mean(evaluation: Evaluation) -> str:
    return format_mean(evaluation.mean, evaluation.standard_error if len(evaluation.returns) > 1 else None)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def as_table(evaluation: Evaluation, env_id: str) -> str:
    """Return an evaluation with a line for each number."""
    returns, threshold = evaluation.returns, reward_threshold(env_id)
    rows = {
        "mean": _describe_mean(evaluation) + (" (standard error)" if len(returns) > 1 else ""),
        "median": format_return(float(np.median(returns))),
        "worst": format_return(float(returns.min())),
        "best": format_return(float(returns.max())),
    }
    if threshold is not None:
        rows["solved"] = f"{np.mean(returns >= threshold):.0%} of episodes (return >= {threshold:g})"
    last = evaluation.seed + len(returns) - 1
    to = f" to reset(seed={last})" if len(returns) > 1 else ""
    head = f"{env_id} · {_count(len(returns), 'greedy episode')}, from reset(seed={evaluation.seed}){to}"
    return "\n".join([head, *(f"{name:<8}{value}" for name, value in rows.items())])


def as_json(evaluation: Evaluation, env_id: str) -> str:
    """Return an evaluation as JSON, with all returns; `solved` is a share of episodes, or null without a threshold."""
    returns, threshold = evaluation.returns, reward_threshold(env_id)
    return json.dumps(
        {
            "env_id": env_id,
            "episodes": len(returns),
            "seed": evaluation.seed,
            "returns": returns.tolist(),
            "lengths": evaluation.lengths.tolist(),
            "mean": evaluation.mean,
            "standard_error": evaluation.standard_error,
            "median": float(np.median(returns)),
            "min": float(returns.min()),
            "max": float(returns.max()),
            "solved": None if threshold is None else float(np.mean(returns >= threshold)),
        }
    )


def solved_step(threshold: float | None, evaluations: Sequence[tuple[int, float]]) -> int | None:
    """Return the step of the first evaluation (step, mean) whose mean is at least `threshold`, or None."""
    if threshold is None:
        return None
    return next((step for step, mean in evaluations if mean >= threshold), None)


def describe_solved(threshold: float | None, step: int | None) -> str:
    """Return when the task was solved, as the end of a line; empty if it has no threshold."""
    if threshold is None:
        return ""
    return f"; not solved (>= {threshold:g})" if step is None else f"; solved (>= {threshold:g}) at step {step}"


def write_result(path: Path, evaluation: Evaluation, config: Mapping[str, Any], **facts: Any) -> None:
    """Write result.json.

    Args:
        path: The file.
        evaluation: The evaluation of the held-out episodes.
        config: The run's settings, as in config.yaml.
        facts: The run's environment, steps and seconds.

    Raises:
        OSError: The file cannot be written.
    """
    settings = json.dumps(comparable_settings(config), sort_keys=True, default=str)
    result = {
        **facts,
        "episodes": len(evaluation.returns),
        "first_reset_seed": evaluation.seed,
        "mean": evaluation.mean,
        "standard_error": evaluation.standard_error,
        "median": float(np.median(evaluation.returns)),
        "worst": float(evaluation.returns.min()),
        "returns": evaluation.returns.tolist(),
        "lengths": evaluation.lengths.tolist(),
        "seed": config.get("seed_everything"),
        # Equal for runs that only differ in the seed and in what they show.
        "settings_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "versions": versions(str(facts.get("env_id", ""))),
    }
    with replacing(path) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())
