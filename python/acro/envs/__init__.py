"""Making environments, `acro/Acrobot-v1`, and saving and restoring their state."""

from acro.envs.making import EnvFactory, make, make_vec
from acro.envs.state import load_state_dict, state_dict

__all__ = ["EnvFactory", "load_state_dict", "make", "make_vec", "state_dict"]
