"""Play a trained agent: `python -m acro.play CHECKPOINT`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from acro.cli.command import loading, run_command
from acro.drawing.movie import check_movie
from acro.storage.files import check_writable


def main(argv: Sequence[str] | None = None) -> int:
    """Play with these arguments; return the exit code, 2 for a user's mistake."""
    return run_command(_run, argv)


def _run(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    _check(arguments)
    _play(arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m acro.play",
        description="Play greedy episodes with a trained agent, and print its returns. Nothing in a checkpoint is "
        "ever run as code. Episode i starts from reset(seed=seed + i): these starts are neither those that chose "
        "best.ckpt nor the held-out ones of the run's result.json.",
    )
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="best.ckpt or last.ckpt of a run, or the run's folder"
    )
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="number of episodes (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="episode i is reset with seed + i (default: 0)")
    parser.add_argument("--gif", type=Path, metavar="FILE", help="draw one episode, as .gif or .mp4")
    parser.add_argument("--human", action="store_true", help="show one episode in a window")
    parser.add_argument(
        "--episode",
        default="median",
        metavar="WHICH",
        help="the one to draw or show: best, median, worst or a number from 0 (default: median)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--env_id", metavar="ID", help="the environment to play in; needed if the agent's is in a module of yours"
    )
    parser.add_argument(
        "--network",
        metavar="MODULE:NAME",
        help="makes the Q-network, without arguments; needed if that is your own class",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("--version", action="store_true", help="print acro's version")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Check all arguments before playing, so that a mistake costs no time."""
    if arguments.episodes < 1:
        raise ValueError(f"--episodes {arguments.episodes}: at least one episode must be played")
    if arguments.seed < 0:
        raise ValueError(f"--seed {arguments.seed}: a seed is at least 0")
    if arguments.episode not in ("best", "median", "worst") and not (
        arguments.episode.isdecimal() and int(arguments.episode) < arguments.episodes
    ):
        last = arguments.episodes - 1
        raise ValueError(f"--episode {arguments.episode}: give best, median, worst or a number from 0 to {last}")
    if arguments.gif is not None:
        try:
            check_movie(arguments.gif)
            check_writable(arguments.gif)
        except (ValueError, ImportError) as error:
            raise ValueError(f"--gif {error}") from error
    if arguments.human and sys.platform.startswith("linux"):
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            raise ValueError("--human needs a display, and there is none here; use --gif FILE")


def _play(arguments: argparse.Namespace) -> None:
    with loading():
        import torch

        from acro.cli.result import as_json, as_table
        from acro.dqn.agent import environment_for, load_agent
        from acro.drawing.episodes import check_drawing, render_episodes, show_episode
        from acro.evaluation import Episodes, evaluate

    # One thread is fastest for small networks.
    torch.set_num_threads(1)
    agent = load_agent(arguments.checkpoint, network=arguments.network)
    env_id, env_kwargs = environment_for(agent, arguments.env_id)
    episodes = Episodes(env_id, arguments.episodes, arguments.seed, env_kwargs, agent.frame_stack)
    if arguments.gif is not None:
        check_drawing(episodes, "rgb_array")
    if arguments.human:
        check_drawing(episodes, "human")
    evaluation = evaluate(agent.module, *episodes)
    print((as_json if arguments.json else as_table)(evaluation, env_id))
    index = evaluation.episode(arguments.episode)
    if arguments.gif is not None:
        (shown,) = render_episodes(episodes, evaluation, [index], arguments.gif, caption=f"episode {index}")
        print(f"{arguments.gif}: episode {index}, return {shown:g}, {evaluation.lengths[index]} steps", file=sys.stderr)
    if arguments.human:
        show_episode(episodes, evaluation, index)


if __name__ == "__main__":
    sys.exit(main())
