"""Making environments, `acro/Acrobot-v1`, and saving and restoring their state."""

from acro.envs.making import EnvFactory, find, make, make_vec, makes_vectors, name_of
from acro.envs.replaying import Recorder
from acro.envs.state import load_state_dict, record, state_dict

__all__ = [
    "EnvFactory",
    "Recorder",
    "find",
    "load_state_dict",
    "make",
    "make_vec",
    "makes_vectors",
    "name_of",
    "record",
    "state_dict",
]
