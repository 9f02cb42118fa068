"""Where data comes from: the LightningDataModule, the collector, exploration."""

from acro.experience.datamodule import Experience

__all__ = ["Experience"]
