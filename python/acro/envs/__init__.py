"""Makes environments, `acro/Acrobot-v1` among them, and saves and restores their state."""

from acro.envs.making import (
    EnvFactory,
    autoreset_mode,
    check_vectors,
    find,
    make,
    make_vec,
    makes_vectors,
    name_of,
    single_of,
)
from acro.envs.replaying import Recorder
from acro.envs.state import load_state_dict, record, state_dict

__all__ = [
    "EnvFactory",
    "Recorder",
    "autoreset_mode",
    "check_vectors",
    "find",
    "load_state_dict",
    "make",
    "make_vec",
    "makes_vectors",
    "name_of",
    "record",
    "single_of",
    "state_dict",
]
